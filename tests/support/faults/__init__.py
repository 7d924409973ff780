"""What tools/inject_faults.py is made of: commands to disturb, faults, and what is left of them."""
