() => { // The address names the tab that is shown (#edit), so that Back goes to the one before, and a link to any of them.
  const row = document.querySelector("#tabs [role=tablist]"), buttons = () => [...row.querySelectorAll(":scope > [role=tab]")];
  const named = (button) => `#${button.textContent.trim().toLowerCase()}`;
  if (!row || row.linsem) return;
  row.linsem = true; // Gradio may load the page twice
  const first = named(buttons()[0]);
  const shown = () => buttons().find((button) => button.ariaSelected === "true");
  const follow = () => buttons().find((button) => named(button) === (location.hash || first))?.click();
  new MutationObserver(() => { // also where the program goes to another tab
    const now = shown();
    if (now && named(now) !== (location.hash || first)) history.pushState(null, "", named(now));
  }).observe(row, { subtree: true, attributes: true, attributeFilter: ["aria-selected"] });
  addEventListener("popstate", follow);
  let kept = "";
  try { kept = localStorage.getItem("linsem-benches") || ""; } catch (error) {}
  if (kept) history.replaceState(null, "", location.pathname + location.search); // what can be continued is offered first
  else if (location.hash && shown() && named(shown()) !== location.hash) follow();
}
