"""From a source to a store: checked, grouped, assigned to folds."""
