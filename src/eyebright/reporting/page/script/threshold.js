// The threshold: every position of the slider is an operating point that was counted when the page was written.
{
  const slider = byId("threshold");
  const dot = document.querySelector(".coverage .here");
  if (slider && dot && data.points) {
    const all = data.points[0][1];
    const vertices = document.querySelector(".coverage polyline").points;
    const show = () => {
      const place = Number(slider.value);
      const [threshold, answered, coverage, accuracy, low, high, wrong] = data.points[place];
      const asked = `${(100 * threshold).toFixed(threshold > 0 ? 2 : 0)}${THIN}%`;
      byId("threshold-value").textContent = asked;
      byId("threshold-coverage").textContent = percent(coverage);
      byId("threshold-answered").textContent = plural(answered, "image", "images");
      byId("threshold-accuracy").textContent = percent(accuracy);
      byId("threshold-range").textContent = `${(100 * low).toFixed(1)}${THIN}–${THIN}${percent(high)}`;
      byId("threshold-wrong").textContent = count(wrong);
      byId("threshold-silent").textContent = count(all - answered);
      slider.setAttribute("aria-valuetext", `at least ${asked} sure: ${percent(coverage)} answered, ${percent(accuracy)} of them right`);
      dot.setAttribute("cx", vertices[place].x);
      dot.setAttribute("cy", vertices[place].y);
    };
    slider.disabled = false;
    slider.addEventListener("input", show);
    show();
  }
}
