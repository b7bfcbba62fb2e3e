() => { // The address names the tab that is shown (#edit), so that Back goes to the one before, and a link to any of them.
  const row = document.querySelector("#tabs [role=tablist]"), buttons = () => [...row.querySelectorAll(":scope > [role=tab]")];
  const named = (button) => `#${button.textContent.trim().toLowerCase()}`;
  if (!row || row.linsem) return;
  row.linsem = true; // the page may begin twice
  const first = named(buttons()[0]), address = (name) => location.pathname + location.search + (name === first ? "" : name);
  const shown = () => named(buttons().find((button) => button.ariaSelected === "true") ?? buttons()[0]);
  let at = shown();
  const follow = () => {
    at = location.hash || first; // before the click, so that it is no new entry
    const button = buttons().find((each) => named(each) === at);
    button?.click();
    button?.focus({ preventScroll: true }); // what was in focus may be hidden now
  };
  new MutationObserver(() => { // also where the program goes to another tab
    const now = shown();
    if (now === at) return;
    history.replaceState(history.state, "", address(at)); // Gradio's own settings take the name away
    history.pushState(null, "", address(now));
    at = now;
  }).observe(row, { subtree: true, attributes: true, attributeFilter: ["aria-selected"] });
  addEventListener("popstate", follow);
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  document.addEventListener("keydown", (event) => { // Gradio's tabs and radio buttons know each other by no name
    const by = steps[event.key], [kind, around] = event.target.matches?.("[type=radio]") ? ["[type=radio]", "fieldset"] : ["[role=tab]", "[role=tablist]"];
    if (!by || event.ctrlKey || event.altKey || event.metaKey || !event.target.matches?.(kind)) return;
    const all = [...(event.target.closest(around)?.querySelectorAll(kind) ?? [])].filter((each) => each.offsetParent && !each.disabled);
    const next = all[(all.indexOf(event.target) + by + all.length) % all.length];
    if (!next) return;
    event.preventDefault();
    next.focus();
    next.click();
  });
  const again = performance.getEntriesByType("navigation")[0]?.type === "reload";
  if (again) history.replaceState(history.state, "", address(at)); // what can be continued is offered in the first tab
  else if (location.hash) follow();
  const lost = "linsem-lost"; // Gradio loads the page anew once the network is back: the work is then continued unasked
  try {
    addEventListener("offline", () => sessionStorage.setItem(lost, "1"));
    if (!sessionStorage.getItem(lost)) return;
    sessionStorage.removeItem(lost);
  } catch (error) { return; }
  const wait = setInterval(() => {
    const resume = document.querySelector("#resume");
    if (resume?.offsetParent) clearInterval(wait), resume.click();
  }, 200);
  setTimeout(() => clearInterval(wait), 20000);
}
