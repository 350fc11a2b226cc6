// Light or dark by the system's choice until the reader makes one; the page remembers it where the browser lets it.
// Not a module: it runs before anything is painted.
{
  const root = document.documentElement;
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  try { chosen = localStorage.getItem("eyebright-theme"); } catch { /* storing is forbidden */ }

  const apply = () => {
    root.dataset.theme = chosen === "light" || chosen === "dark" ? chosen : system.matches ? "dark" : "light";
    const button = document.getElementById("theme");
    if (button) button.textContent = root.dataset.theme === "dark" ? "Light" : "Dark";
  };
  apply();
  system.addEventListener("change", apply);
  document.addEventListener("DOMContentLoaded", () => {
    apply();
    document.getElementById("theme").addEventListener("click", () => {
      chosen = root.dataset.theme === "dark" ? "light" : "dark";
      try { localStorage.setItem("eyebright-theme", chosen); } catch { /* storing is forbidden */ }
      apply();
    });
  });
}
