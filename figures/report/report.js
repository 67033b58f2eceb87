"use strict";
// Data inside the page is compressed; it is inflated when something asks for it.
const inflate = async (id, format) => {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent.trim()), (c) => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream(format))).text();
};
const once = (make) => {
  let made;
  return () => (made ??= make());
};
const data = {
  records: once(async () => JSON.parse(await inflate("data-records", "deflate"))),
  behind: once(async () => JSON.parse(await inflate("data-behind", "deflate"))),
  plots: once(async () => JSON.parse(await inflate("data-plots", "deflate"))),
};

(() => {
  const dialog = document.getElementById("provenance");
  const list = dialog.querySelector("dl");
  const runs = dialog.querySelector(".runs");

  const open = (title) => {
    dialog.querySelector("h2").textContent = title;
    list.replaceChildren();
    runs.replaceChildren();
    if (!dialog.open) dialog.showModal();
  };

  const show = async (id) => {
    open(`Record ${id}`);
    const about = (await data.records())[id] ?? { show: `repro records show ${id}`, note: "not in this page, which holds some of many runs" };
    for (const [name, value] of Object.entries(about)) {
      const term = document.createElement("dt");
      const text = document.createElement("dd");
      term.textContent = name;
      text.textContent = typeof value === "string" ? value : JSON.stringify(value, null, 1);
      list.append(term, text);
    }
  };

  const listRecords = async (kind, name) => {
    const known = await data.records();
    const found = (await data.behind())[kind][name];
    const count = found.total > found.runs.length ? `: ${found.runs.length} of ${found.total}` : "";
    open(`Records behind ${name}${count}`);
    for (const id of found.runs) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "run";
      button.dataset.run = id;
      button.textContent = `${known[id]?.store ?? ""}/${id}`;
      runs.append(button);
    }
  };

  // On a narrow screen a row is a card; each of its cells says which column it is of.
  const name = (table) => {
    const heads = [...table.tHead.rows[0].cells].map((head) => head.textContent);
    for (const row of table.tBodies[0].rows) [...row.cells].forEach((cell, place) => { cell.dataset.head = heads[place]; });
  };

  const tableOf = ({ columns, rows }) => {
    const table = document.createElement("table");
    const line = (cells, tag, parent) => {
      const row = parent.insertRow();
      for (const cell of cells) row.append(Object.assign(document.createElement(tag), { textContent: cell ?? "" }));
    };
    line(columns, "th", table.createTHead());
    const body = table.createTBody();
    for (const row of rows) line(row, "td", body);
    table.className = "cards";
    name(table);
    return table;
  };

  const toggleNumbers = async (button) => {
    const place = button.closest("figure").querySelector(".drawn");
    const opened = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!opened));
    place.replaceChildren();
    if (opened) return;
    const numbers = (await data.behind()).numbers[button.dataset.name];
    const frame = Object.assign(document.createElement("div"), { className: "wide", tabIndex: 0 });
    frame.append(tableOf(numbers));
    place.append(frame);
    if (numbers.rows.length < numbers.total) {
      place.append(`The first ${numbers.rows.length} rows; all are in ${button.dataset.name}.csv.`);
    }
  };

  // Looking at a button is reason enough to inflate what it will show.
  for (const event of ["focusin", "pointerover"]) {
    document.addEventListener(event, (seen) => {
      if (seen.target.closest?.("button.run, button.behind")) data.records();
    });
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.matches(".run")) show(button.dataset.run);
    if (button?.matches(".behind")) listRecords(button.dataset.behind, button.dataset.name);
    if (button?.matches(".numbers")) toggleNumbers(button);
    if (button?.matches(".zoom")) enlarge(button);
  });

  const enlarged = document.getElementById("enlarged");
  const enlarge = (button) => {
    const image = button.querySelector("img").cloneNode(true);
    image.removeAttribute("width");
    image.removeAttribute("height");
    enlarged.querySelector(".room").replaceChildren(image);
    enlarged.showModal();
  };

  // A link to what stands in a folded part unfolds it; so does printing.
  const unfold = (place) => { for (let up = place; up; up = up.parentElement) if (up.tagName === "DETAILS") up.open = true; };
  window.addEventListener("hashchange", () => unfold(document.getElementById(location.hash.slice(1))));

  const number = (text) => {
    const match = text.trim().match(/^[-+−]?\d*\.?\d+(?:e[-+]?\d+)?/i);
    return match ? Number(match[0].replace("−", "-")) : NaN;
  };

  const sort = (table, column, direction) => {
    const body = table.tBodies[0];
    const text = (row) => row.cells[column].textContent.trim();
    const compare = (a, b) => {
      const [x, y] = [number(text(a)), number(text(b))];
      if (!Number.isNaN(x) && !Number.isNaN(y)) return x - y;
      if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1;
      return text(a).localeCompare(text(b));
    };
    const rows = [...body.rows].sort((a, b) => direction * compare(a, b));
    body.replaceChildren(...rows);
  };

  document.querySelectorAll("table.cards").forEach(name);
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const rising = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", rising ? "ascending" : "descending");
        sort(table, column, rising ? 1 : -1);
      });
    });
  }

  window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(unfold));
})();
