// Light or dark: as the system has it, until somebody chooses.
const byId = (id) => document.getElementById(id);
const page = document.documentElement;
const night = window.matchMedia("(prefers-color-scheme: dark)");

function remember(key, value) {
  try { localStorage.setItem(key, value); } catch { /* a frame without storage forgets it, and nothing else */ }
}

function recall(key) {
  try { return localStorage.getItem(key); } catch { return null; }
}

const isDark = () => (page.dataset.theme ? page.dataset.theme === "dark" : night.matches);

if (["light", "dark"].includes(recall("cnnscope-theme"))) page.dataset.theme = recall("cnnscope-theme");
byId("theme").addEventListener("click", () => {
  page.dataset.theme = isDark() ? "light" : "dark";
  remember("cnnscope-theme", page.dataset.theme);
});

// Links inside the page. In a frame without an address of its own the browser would follow them elsewhere.
document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#"]');
  const target = link && byId(link.getAttribute("href").slice(1));
  if (!target) return;
  event.preventDefault();
  target.scrollIntoView();
  target.focus({ preventScroll: true });
});
