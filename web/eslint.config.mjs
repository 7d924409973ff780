import js from "@eslint/js";
import ts from "typescript-eslint";

const MARKUP = "Texts become text nodes only: see dom.ts.";

export default ts.config(
  { ignores: ["build", "node_modules", "build.mjs", "eslint.config.mjs"] },
  js.configs.recommended,
  ts.configs.strict,
  {
    rules: {
      "@typescript-eslint/no-non-null-assertion": "off", // indices are checked by loops
      "no-eval": "error",
      "no-restricted-properties": [
        "error",
        ...["innerHTML", "outerHTML", "insertAdjacentHTML"].map((property) => ({
          property,
          message: MARKUP,
        })),
      ],
    },
  },
);
