// Elements with `data-live` follow what the gateway says of itself, for as long as the page is looked at.
export function live() {
  const parts = document.querySelectorAll("[data-live], [data-live-stale]");
  const page = document.querySelector("[data-live-source]");
  if (!parts.length || !page) return;
  let source = null;
  const follow = () => {
    if (document.hidden) {
      source?.close();
      source = null;
    } else if (!source) {
      source = new EventSource(page.dataset.liveSource);
      source.addEventListener("state", (event) => show(JSON.parse(event.data)));
    }
  };
  document.addEventListener("visibilitychange", follow);
  follow();
}

function show(state) {
  for (const notice of document.querySelectorAll("[data-live-stale]")) {
    notice.hidden = !(Number(state.stamp) > Number(notice.dataset.liveStale));
  }
  for (const part of document.querySelectorAll("[data-live]")) {
    const value = state[part.dataset.live];
    if (value === undefined) continue;
    if (part.dataset.liveAs === "rows") rows(part, value);
    else if (part.dataset.liveAs === "value") part.value = value;
    else if (part.textContent !== value) part.textContent = value;
  }
}

// A table whose rows are [name, words, share]; it is out of sight while there are none.
function rows(body, list) {
  body.closest("[data-live-box]").hidden = list.length === 0;
  body.replaceChildren(
    ...list.map(([name, words, share]) => {
      const row = document.createElement("tr");
      const title = document.createElement("th");
      title.scope = "row";
      title.className = "wrap";
      title.textContent = name;
      const how = document.createElement("td");
      const bar = document.createElement("progress");
      bar.className = "bar";
      bar.value = share;
      bar.setAttribute("aria-label", `${name}: ${words}`);
      how.append(bar);
      const said = document.createElement("td");
      said.className = "n";
      said.textContent = words;
      row.append(title, how, said);
      return row;
    }),
  );
}
