"use strict";
// The page of a job: server-sent events in, tables and two drawings out. Text is only ever set as text.
const $ = id => document.getElementById(id);
const NS = "http://www.w3.org/2000/svg";
const colors = ["#2563eb", "#e0701b", "#16875a", "#9333ea", "#c6303e", "#0e8a9c", "#b08900", "#64748b"];
let points = [];

function el(tag, attrs, text) {
  const e = tag.startsWith("svg:") ? document.createElementNS(NS, tag.slice(4)) : document.createElement(tag);
  for (const k in attrs) e.setAttribute(k, attrs[k]);
  if (text !== undefined) e.textContent = text;
  return e;
}
const num = (x, d = 0) => x.toLocaleString("en", { minimumFractionDigits: d, maximumFractionDigits: d });
function bytes(x) {
  for (const u of ["B", "kB", "MB", "GB"]) { if (x < 1000) return (x < 10 && u !== "B" ? num(x, 1) : num(x)) + " " + u + "/s"; x /= 1000; }
  return num(x, 1) + " TB/s";
}
function short(id) { // host-1a2b3c4d/2 → 1a2b/2
  const m = /-([0-9a-f]{4})[0-9a-f]{4}(\/.*)?$/.exec(id);
  return m ? m[1] + (m[2] || "") : id;
}

function table(id, heads, rows) {
  const t = $(id), head = el("tr");
  heads.forEach(([name, cls]) => head.append(el("th", cls ? { class: cls } : {}, name)));
  const body = rows.map(cells => {
    const r = el("tr");
    cells.forEach((c, i) => r.append(el("td", { class: heads[i][1] || "", title: c.title || "" }, c.text ?? c)));
    return r;
  });
  t.replaceChildren(head, ...body);
}

function show(s) {
  document.title = s.job + " · ringo";
  $("job").textContent = s.job;
  const total = s.workers.reduce((n, w) => n + w.bytes_ps, 0);
  const lanes = s.workers.reduce((n, w) => n + w.lanes_ps, 0);
  const last = points.findLast(p => p.loss !== undefined);
  $("tiles").replaceChildren(...[
    [s.steps ? num(s.step) + " / " + num(s.steps) : num(s.step), "step"],
    [last ? num(last.loss, 4) : "–", "loss"],
    [s.step_ms ? num(s.step_ms, 1) + " ms" : "–", "step time"],
    [String(s.workers.length), "workers, epoch " + s.epoch],
    [bytes(total), "sent, all workers"],
    [lanes ? num(lanes, 1) : "–", "lanes per second"],
    [s.state, "this host"],
  ].map(([b, t]) => { const d = el("div", { class: "tile" }); d.append(el("b", {}, b), el("span", {}, t)); return d; }));
  const hosts = s.hosts.map(h => h.id);
  table("workers", [["rank", "n"], ["worker"], ["device"], ["step", "n"], ["lanes", "n"], ["lanes/s", "n"], ["sent", "n"], ["GPU", "n"], ["restarts", "n"]],
    s.workers.map((w, i) => [String(i), { text: short(w.id), title: w.id }, w.device, num(w.step), w.hi > w.lo ? w.lo + "–" + (w.hi - 1) : "–",
      w.lanes_ps ? num(w.lanes_ps, 1) : "–", bytes(w.bytes_ps), w.gpu >= 0 ? num(w.gpu) + " %" : "–", String(w.restarts)]));
  table("hosts", [["host"], ["address"], ["round trip", "n"]], s.hosts.map(h =>
    [{ text: short(h.id) + (h.witness ? " (witness)" : ""), title: h.id }, h.addr, h.id === s.host ? "here" : h.rtt_ms ? num(h.rtt_ms, 2) + " ms" : "–"]));
  table("changes", [["epoch", "n"], ["time"], ["workers", "n"], ["next step after", "n"], ["what happened", "wrap"]], s.changes.slice().reverse().map(c =>
    [String(c.epoch), new Date(c.unix * 1000).toLocaleTimeString("en-GB"), String(c.workers), c.recovery_ms ? num(c.recovery_ms) + " ms" : "–", c.reason]));
  ring(s.workers, hosts);
}

function ring(workers, hosts) {
  const g = $("ring"), n = workers.length, r = 88, parts = [];
  parts.push(el("svg:circle", { class: "arc", r }));
  const label = n <= 24;
  workers.forEach((w, i) => {
    const a = 2 * Math.PI * i / n - Math.PI / 2, x = r * Math.cos(a), y = r * Math.sin(a);
    if (label && n > 1) {
      const m = a + Math.PI / n, t = m * 180 / Math.PI + 90;
      parts.push(el("svg:path", { class: "arrow", d: "M-4,-4 L5,0 L-4,4 z", transform: `translate(${r * Math.cos(m)},${r * Math.sin(m)}) rotate(${t})` }));
    }
    const c = el("svg:circle", { cx: x, cy: y, r: label ? 9 : 3, fill: colors[Math.max(0, hosts.indexOf(w.host)) % colors.length] });
    c.append(el("svg:title", {}, w.id + " on " + w.host));
    parts.push(c);
    if (label) parts.push(el("svg:text", { class: "id", x: x * 1.27, y: y * 1.27 + 4, "text-anchor": x > 5 ? "start" : x < -5 ? "end" : "middle" }, String(i)));
  });
  parts.push(el("svg:text", { "text-anchor": "middle", y: 4 }, n === 1 ? "1 worker" : n + " workers"));
  g.replaceChildren(...parts);
}

function ticks(lo, hi, n) { // 1, 2 or 5 times a power of ten
  const raw = (hi - lo) / n || 1, p = 10 ** Math.floor(Math.log10(raw)), f = raw / p;
  const step = (f > 5 ? 10 : f > 2 ? 5 : f > 1 ? 2 : 1) * p, out = [];
  for (let i = Math.ceil(lo / step); i * step <= hi && out.length < 20; i++) out.push(i * step);
  return out;
}

function plot() {
  const g = $("loss"), W = g.clientWidth || 600, H = 260, L = 46, B = 22, T = 8, R = 10;
  g.setAttribute("viewBox", `0 0 ${W} ${H}`);
  const tr = points.filter(p => p.loss !== undefined), va = points.filter(p => p.val_loss !== undefined);
  const ys = tr.map(p => p.loss).concat(va.map(p => p.val_loss)), xs = points.map(p => p.step);
  if (!ys.length) { g.replaceChildren(el("svg:text", { x: W / 2, y: H / 2, "text-anchor": "middle" }, "waiting for the first step")); return; }
  const x0 = Math.min(...xs), x1 = Math.max(...xs, x0 + 1);
  let y0 = Math.min(...ys), y1 = Math.max(...ys);
  const pad = (y1 - y0 || 1) * 0.06; y0 -= pad; y1 += pad;
  const X = s => L + (s - x0) / (x1 - x0) * (W - L - R), Y = v => T + (y1 - v) / (y1 - y0) * (H - T - B);
  const parts = [];
  for (const t of ticks(y0, y1, 5)) parts.push(el("svg:line", { class: "grid", x1: L, x2: W - R, y1: Y(t), y2: Y(t) }), el("svg:text", { x: L - 6, y: Y(t) + 4, "text-anchor": "end" }, String(+t.toPrecision(4))));
  for (const t of ticks(x0, x1, 6)) parts.push(el("svg:text", { x: X(t), y: H - 5, "text-anchor": "middle" }, num(t)));
  const line = (ps, f) => ps.map((p, i) => (i ? "L" : "M") + X(p.step).toFixed(1) + "," + Y(f(p)).toFixed(1)).join("");
  if (tr.length) parts.push(el("svg:path", { class: "train", d: line(tr, p => p.loss) }));
  if (va.length) parts.push(el("svg:path", { class: "valid", d: line(va, p => p.val_loss) }), ...va.map(p => el("svg:circle", { class: "dot", r: 2.5, cx: X(p.step), cy: Y(p.val_loss) })));
  g.replaceChildren(...parts);
}

const say = (text, ok) => { $("link").textContent = text; $("link").className = ok ? "good" : "bad"; };
let due = false;
function redraw() { if (!due) { due = true; setTimeout(() => { due = false; plot(); }, 40); } }
const stream = new EventSource("events");
stream.onopen = () => say("live", true);
stream.onerror = () => say("no connection; the job may have ended", false);
stream.addEventListener("history", e => { points = JSON.parse(e.data) || []; redraw(); });
stream.addEventListener("point", e => { points.push(JSON.parse(e.data)); if (points.length > 4096) points = points.filter((p, i) => i % 2 || p.val_loss !== undefined); redraw(); });
stream.addEventListener("state", e => { const s = JSON.parse(e.data); for (const k of ["workers", "hosts", "changes"]) s[k] ||= []; show(s); });
addEventListener("resize", redraw);
plot();
