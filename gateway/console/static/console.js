"use strict";
// What the pages do beyond links and forms: charts from their own tables, live events, saying when
// the connection is lost. Every page can be read and used without it.
(() => {
  const COLOURS = ["#1f5673", "#e39b2d", "#5d9c86", "#b23a2b", "#7a6fa3", "#8a9aa6"];
  const TEXT = { color: "#5a6a76", fontSize: 12 };
  const words = document.body.dataset;
  const banner = document.getElementById("banner");

  // --- the banner -------------------------------------------------------------------------------
  let lost = "";
  function say(state) {
    if (state === lost) return;
    const before = lost;
    lost = state;
    if (state) {
      banner.textContent = state === "away" ? words.away : words.lost;
      banner.className = "banner";
      banner.hidden = false;
    } else if (before) {
      banner.textContent = words.back;
      banner.className = "banner back";
      setTimeout(() => { if (!lost) banner.hidden = true; }, 4000);
    }
  }
  window.addEventListener("offline", () => say("lost"));
  window.addEventListener("online", () => { if (!document.querySelector("[data-live]")) say(""); });
  document.addEventListener("htmx:sendError", () => say("lost"));
  document.addEventListener("htmx:afterRequest", (e) => { if (e.detail.successful) say(""); });

  // --- charts: each is drawn from the table beside it ----------------------------------------------
  function numbers(table) {
    const heads = [...table.tHead.rows[0].cells].map((c) => c.textContent);
    const rows = [...table.tBodies[0].rows].map((r) => [...r.cells].map((c) => c.dataset.v === undefined ? c.textContent : Number(c.dataset.v)));
    return { heads, rows };
  }
  const round = (v) => (Math.round(v * 100) / 100).toLocaleString();
  function lines(figure, { heads, rows }) {
    const kinds = figure.dataset.kinds.split(",");
    const axis = (name, position) => ({ type: "value", name, position, nameTextStyle: TEXT, axisLabel: TEXT, splitLine: { show: position !== "right", lineStyle: { color: "#eef1f4" } } });
    return {
      color: COLOURS, animation: false, grid: { left: 8, right: 12, top: 58, bottom: 4, containLabel: true },
      legend: { top: 0, right: 0, textStyle: TEXT, itemHeight: 10 },
      tooltip: { trigger: "axis", renderMode: "richText", valueFormatter: round },
      xAxis: { type: "category", data: rows.map((r) => r[0].slice(2, 10)), axisLabel: TEXT, axisTick: { show: false } },
      yAxis: [axis(figure.dataset.unit, "left")].concat(figure.dataset.unit2 ? [axis(figure.dataset.unit2, "right")] : []),
      series: kinds.map((kind, i) => ({ name: heads[i + 1], type: kind === "bar" ? "bar" : "line", yAxisIndex: kind === "line2" ? 1 : 0, data: rows.map((r) => r[i + 1]), barMaxWidth: 18, symbolSize: 5, lineStyle: { width: 2 } })),
    };
  }
  function flows(figure, { rows: all }) {
    // What is only owed has no width; it stands in the table.
    const rows = all.filter((r) => r[2] > 0);
    const seen = [...new Set(rows.flatMap((r) => [r[0], r[1]]))];
    return {
      color: COLOURS, animation: false,
      tooltip: { renderMode: "richText", formatter: (p) => p.dataType === "edge" ? `${p.data.source.trim()} → ${p.data.target.trim()}\n${round(p.data.value)} ${figure.dataset.unit}` : `${p.name.trim()}\n${round(p.value)} ${figure.dataset.unit}` },
      series: [{ type: "sankey", left: 4, right: 210, top: 8, bottom: 8, nodeWidth: 16, nodeGap: 14, draggable: false, emphasis: { focus: "adjacency" }, lineStyle: { color: "gradient", opacity: 0.4 }, label: { fontSize: 13, color: "#1d2b36" }, data: seen.map((name) => ({ name })), links: rows.map((r) => ({ source: r[0], target: r[1], value: r[2] })) }],
    };
  }
  const DRAWN = { lines, flows };
  function draw(root) {
    if (!window.echarts) return;
    for (const figure of root.querySelectorAll("figure[data-chart]")) {
      const canvas = figure.querySelector(".canvas");
      if (canvas.dataset.drawn) continue;
      canvas.dataset.drawn = "1";
      const chart = window.echarts.init(canvas);
      chart.setOption(DRAWN[figure.dataset.chart](figure, numbers(figure.querySelector("table"))));
      new ResizeObserver(() => chart.resize()).observe(canvas);
    }
  }
  document.addEventListener("htmx:afterSettle", () => draw(document));

  // --- live events ------------------------------------------------------------------------------------
  // The browser sends Last-Event-ID by itself when it reconnects; where it gave up, we begin again
  // behind the last event that came.
  function live(list) {
    const mark = document.getElementById("live-mark");
    const count = document.getElementById("live-count");
    const most = Number(list.dataset.most);
    let last = "", ended = false, seen = 0;
    function open() {
      const address = new URL(list.dataset.live, location.href);
      if (last) address.searchParams.set("after", last);
      const source = new EventSource(address);
      source.onopen = () => { say(""); mark.classList.add("on"); };
      source.onerror = () => {
        mark.classList.remove("on");
        if (ended) { source.close(); return; }
        say("lost");
        if (source.readyState === EventSource.CLOSED) setTimeout(open, 1000);
      };
      source.addEventListener("told", (e) => {
        last = e.lastEventId || last;
        say("");
        list.insertAdjacentHTML("afterbegin", e.data);
        while (list.children.length > most) list.lastElementChild.remove();
        seen += 1;
        count.textContent = String(seen);
      });
      source.addEventListener("at", (e) => { last = e.lastEventId || last; say(""); mark.classList.add("on"); });
      source.addEventListener("away", () => { mark.classList.remove("on"); say("away"); });
      source.addEventListener("over", () => { ended = true; source.close(); mark.classList.remove("on"); location.reload(); });
    }
    open();
  }

  for (const button of document.querySelectorAll("[data-print]")) button.addEventListener("click", () => window.print());
  for (const form of document.querySelectorAll("form[data-once]")) form.addEventListener("submit", () => { for (const b of form.querySelectorAll("button")) setTimeout(() => { b.disabled = true; }, 0); });
  draw(document);
  const list = document.querySelector("[data-live]");
  if (list) live(list);
})();
