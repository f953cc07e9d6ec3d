// What makes pages quicker to use. Every one of them works without it.
import { copyButtons } from "./copy.js";
import { live } from "./live.js";
import { shortcuts } from "./shortcuts.js";
import { themes } from "./theme.js";

document.documentElement.classList.add("js");
copyButtons();
shortcuts();
themes();
live();
