"use strict";
(() => {
  const records = JSON.parse(document.getElementById("records").textContent);
  const dialog = document.getElementById("provenance");

  const show = (id) => {
    const found = records[id] || {};
    dialog.querySelector("h2").textContent = `Record ${id}`;
    const list = dialog.querySelector("dl");
    list.replaceChildren();
    for (const [name, value] of Object.entries(found)) {
      const term = document.createElement("dt");
      const text = document.createElement("dd");
      term.textContent = name;
      text.textContent = typeof value === "string" ? value : JSON.stringify(value, null, 1);
      list.append(term, text);
    }
    dialog.showModal();
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.run");
    if (button) show(button.dataset.run);
  });

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

  window.addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details.missing")) details.open = true;
  });
})();
