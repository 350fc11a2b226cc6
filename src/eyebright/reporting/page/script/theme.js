// Light or dark by the system's choice until the reader makes one; the page remembers it where the browser lets it.
const byId = (id) => document.getElementById(id);
const store = {
  get(key) { try { return localStorage.getItem(key); } catch { return null; } },
  set(key, value) { try { localStorage.setItem(key, value); } catch { /* a file may not store */ } },
};
{
  const root = document.documentElement;
  root.classList.add("live"); // what is there for a page without script goes
  const button = byId("theme");
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const chosen = store.get("eyebright-theme");
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const label = () => { button.textContent = dark() ? "Light" : "Dark"; };
  button.hidden = false;
  label();
  system.addEventListener("change", label);
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    store.set("eyebright-theme", root.dataset.theme);
    label();
  });
}
