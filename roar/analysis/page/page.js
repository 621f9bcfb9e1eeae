"use strict";
(() => {
  const every = (selector, root = document) => [...root.querySelectorAll(selector)];
  document.documentElement.classList.add("js");

  // Sorting: a heading becomes a button; numbers by data-value, empty ones last whatever the direction.
  for (const table of every("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      if (!head.textContent.trim()) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const sign = down ? -1 : 1;
        const numeric = head.dataset.kind === "number";
        const key = (row) => {
          const cell = row.cells[column];
          if (!numeric) return cell.textContent.trim();
          return cell.dataset.value === "" || cell.dataset.value === undefined ? null : Number(cell.dataset.value);
        };
        const rows = every("tbody tr", table).map((row) => [key(row), row]);
        rows.sort(([a], [b]) => {
          if (a === null || b === null) return (a === null) - (b === null);
          return sign * (numeric ? a - b : a.localeCompare(b));
        });
        table.tBodies[0].append(...rows.map(([, row]) => row));
      });
    });
  }

  // Toggles: the same estimator is shown or hidden in all charts and legends at once.
  const show = (name, on) => {
    for (const series of every("[data-estimator]")) {
      if (series.dataset.estimator === name) series.classList.toggle("off", !on);
    }
    for (const box of every("[data-toggle]")) {
      if (box.dataset.toggle === name) box.checked = on;
    }
  };
  for (const box of every("[data-toggle]")) {
    box.addEventListener("change", () => show(box.dataset.toggle, box.checked));
  }
  for (const button of every("[data-all]")) {
    button.addEventListener("click", () => {
      const names = every("[data-toggle]", button.closest("fieldset")).map((box) => box.dataset.toggle);
      names.forEach((name) => show(name, button.dataset.all === "on"));
    });
  }

  // Pointing at a legend's entry, or focusing it, lights its line up.
  const light = (figure, name) => {
    for (const chart of every("svg.chart", figure)) {
      chart.classList.toggle("faded", name !== null);
      for (const series of every("[data-estimator]", chart)) {
        series.classList.toggle("lit", series.dataset.estimator === name);
      }
    }
  };
  for (const label of every("label.key")) {
    const name = label.querySelector("[data-toggle]").dataset.toggle;
    const figure = label.closest("figure");
    for (const kind of ["pointerenter", "focusin"]) label.addEventListener(kind, () => light(figure, name));
    for (const kind of ["pointerleave", "focusout"]) label.addEventListener(kind, () => light(figure, null));
  }

  // Reading values: the nearest point under the pointer, or arrow keys on a focused chart.
  const tip = document.getElementById("tip");
  for (const chart of every("svg.chart")) {
    const marks = every(".pt", chart).filter((mark) => mark.querySelector("title")).map((mark) => {
      const title = mark.querySelector("title");
      const words = title.textContent;
      title.remove();
      return { mark, words, series: mark.closest(".series") };
    });
    if (!marks.length) continue;
    let here = null;
    const center = ({ mark }) => {
      const box = mark.getBoundingClientRect();
      return [box.left + box.width / 2, box.top + box.height / 2];
    };
    const say = (found) => {
      if (here) here.mark.classList.remove("here");
      here = found;
      tip.hidden = !found;
      if (!found) return;
      found.mark.classList.add("here");
      tip.textContent = found.words;
      const [x, y] = center(found);
      const left = Math.min(Math.max(x + 12, 4), window.innerWidth - tip.offsetWidth - 4);
      const above = y - tip.offsetHeight - 12;
      tip.style.left = `${left}px`;
      tip.style.top = `${above < 4 ? y + 14 : above}px`;
    };
    const visible = () => marks.filter(({ series }) => !series.classList.contains("off"));
    const nearest = (x, y, reach) => {
      let best = null;
      let least = reach;
      for (const item of visible()) {
        const [a, b] = center(item);
        const distance = Math.hypot(a - x, b - y);
        if (distance < least) [best, least] = [item, distance];
      }
      return best;
    };
    chart.addEventListener("pointermove", (event) => say(nearest(event.clientX, event.clientY, 30)));
    chart.addEventListener("pointerleave", () => say(null));
    chart.addEventListener("blur", () => say(null));
    chart.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
      if (event.key === "Escape") say(null);
      if (!(event.key in steps)) return;
      event.preventDefault();
      const all = visible();
      if (!all.length) return;
      const lines = [...new Set(all.map(({ series }) => series))];
      const [along, across] = steps[event.key];
      if (!all.includes(here)) return say(all[0]);
      const line = lines[(lines.indexOf(here.series) + across + lines.length) % lines.length];
      const place = all.filter(({ series }) => series === here.series).indexOf(here) + along;
      const own = all.filter(({ series }) => series === line);
      say(own[Math.min(Math.max(place, 0), own.length - 1)]);
    });
  }
})();
