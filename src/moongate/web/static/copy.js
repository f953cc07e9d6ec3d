// Buttons that copy the text of the element named by `data-copy`, and say so.
export function copyButtons() {
  const said = document.getElementById("said");
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    const source = document.getElementById(button.dataset.copy);
    if (!source) return;
    const text = source.value ?? source.textContent.trim();
    const copied = await copy(text, source);
    said.textContent = copied ? "Copied" : "Not copied: select it and press Ctrl C";
    if (!copied) return;
    button.classList.add("copied");
    const label = button.querySelector("[data-word]");
    const before = label?.textContent;
    if (label) label.textContent = "Copied";
    setTimeout(() => {
      button.classList.remove("copied");
      if (label) label.textContent = before;
      said.textContent = "";
    }, 1600);
  });
}

async function copy(text, source) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // no clipboard without https: select it, so that the keys do
    if (source.select) source.select();
    else getSelection().selectAllChildren(source);
    return false;
  }
}
