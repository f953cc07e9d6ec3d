// The choice of theme takes effect at once; the form beneath keeps it where there is no script.
export function themes() {
  for (const form of document.querySelectorAll("form[data-theme-form]")) {
    form.addEventListener("submit", (event) => {
      const theme = event.submitter?.value;
      if (theme === undefined) return;
      event.preventDefault();
      const root = document.documentElement;
      if (theme) root.dataset.theme = theme;
      else delete root.dataset.theme;
      for (const button of form.querySelectorAll("button")) {
        button.setAttribute("aria-pressed", String(button.value === theme));
      }
      fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form, event.submitter)) });
    });
  }
}
