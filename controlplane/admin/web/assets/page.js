// What is here refreshes a page that works without it: ages of times, new figures, keys, light and dark.
"use strict";

const EVERY_MS = 5000;
const THEMES = ["auto", "light", "dark"];

function ages() {
  const now = Date.now();
  for (const time of document.querySelectorAll("time[datetime]")) {
    const seconds = Math.round((now - Date.parse(time.dateTime)) / 1000);
    const steps = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
    const [size, unit] = steps.find(([least]) => Math.abs(seconds) >= least) || [1, "s"];
    const words = `${Math.floor(Math.abs(seconds) / size)} ${unit}`;
    time.textContent = seconds < 0 ? `in ${words}` : `${words} ago`;
    time.title = time.dateTime;
  }
}

// Whoever stands on a link or a field inside what is exchanged stands on the same one afterwards.
function placeOfFocus() {
  const at = document.activeElement;
  const part = at && at.closest("[data-live]");
  return part ? { id: at.id, href: at.getAttribute("href"), part } : null;
}

function focusAgain(place, part) {
  const same = [...part.querySelectorAll("a, button, input, [tabindex]")].find(
    (each) => (place.id && each.id === place.id) || (place.href && each.getAttribute("href") === place.href));
  if (same) same.focus({ preventScroll: true });
}

let last = "";
async function readAgain() {
  const live = document.getElementById("live");
  if (!document.querySelector("[data-live]")) return;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!answer.ok) throw new Error(String(answer.status));
    const text = await answer.text();
    live.textContent = "";
    if (text === last) return;
    last = text;
    const news = new DOMParser().parseFromString(text, "text/html").querySelectorAll("[data-live]");
    const parts = document.querySelectorAll("[data-live]");
    const place = placeOfFocus();
    parts.forEach((part, at) => {
      if (!news[at] || news[at].innerHTML === part.dataset.was) return;
      part.dataset.was = news[at].innerHTML;
      const scrolled = [...part.querySelectorAll(".scroll")].map((each) => each.scrollLeft);
      part.replaceChildren(...news[at].childNodes);
      part.querySelectorAll(".scroll").forEach((each, index) => { each.scrollLeft = scrolled[index] || 0; });
      if (place && place.part === part) focusAgain(place, part);
    });
    ages();
  } catch {
    live.textContent = "The control plane does not answer; trying again.";
  }
}

function theme(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  document.getElementById("theme").textContent = `Theme: ${name}`;
  localStorage.setItem("theme", name);
}

function nextTheme() {
  theme(THEMES[(THEMES.indexOf(localStorage.getItem("theme")) + 1 || 1) % THEMES.length]);
}

let going = false;
function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog[open]")) return;
  if (going) {
    going = false;
    const link = document.querySelector(`nav a[data-key="${CSS.escape(event.key)}"]`);
    if (link) { event.preventDefault(); link.click(); }
    return;
  }
  const actions = {
    g: () => { going = true; setTimeout(() => { going = false; }, 1500); },
    "/": () => document.getElementById("q") && document.getElementById("q").focus(),
    r: readAgain,
    t: nextTheme,
    "?": () => document.getElementById("keys").showModal(),
  };
  if (Object.hasOwn(actions, event.key)) { event.preventDefault(); actions[event.key](); }
}

const moment = document.getElementById("moment");
if (moment) {
  const at = document.getElementById("at");
  at.addEventListener("input", () => { document.getElementById("at-words").textContent = at.value; });
  at.addEventListener("change", () => moment.requestSubmit());
  document.getElementById("since").addEventListener("change", () => moment.requestSubmit());
}
for (const id of ["theme", "keys-button"]) document.getElementById(id).hidden = false;
theme(THEMES.includes(localStorage.getItem("theme")) ? localStorage.getItem("theme") : "auto");
document.getElementById("theme").addEventListener("click", nextTheme);
document.getElementById("keys-button").addEventListener("click", () => document.getElementById("keys").showModal());
document.addEventListener("keydown", key);
ages();
setInterval(() => { if (!document.hidden) { ages(); readAgain(); } }, EVERY_MS);
