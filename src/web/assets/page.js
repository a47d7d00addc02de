// Without this script every page is whole; with it, a page follows what changes, and commands are copied
// by a click.
"use strict";
(() => {
  const root = document.getElementById("favicon").getAttribute("href").replace(/\/assets\/.*$/, "");
  const live = document.getElementById("live");
  let shown = Number(document.documentElement.dataset.at);
  let wanted = shown;
  let busy = false;

  const ago = (seconds) =>
    seconds < 60 ? `${seconds} s ago`
      : seconds < 3600 ? `${Math.floor(seconds / 60)} min ago`
        : seconds < 172800 ? `${Math.floor(seconds / 3600)} h ago`
          : `${Math.floor(seconds / 86400)} d ago`;

  // Only those that the server wrote as ages.
  const tick = () => {
    for (const time of document.querySelectorAll("time")) {
      if (time.textContent.endsWith(" ago")) {
        const seconds = Math.max(0, Math.floor((Date.now() - Date.parse(time.dateTime)) / 1000));
        time.textContent = ago(seconds);
      }
    }
  };

  const say = (button, text) => {
    button.textContent = text;
    document.getElementById("announce").textContent = text;
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  };

  // Where the page did not come over TLS or from this machine, browsers have no clipboard for it.
  const copy = async (button, code) => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      say(button, "Copied");
    } catch {
      const range = document.createRange();
      range.selectNodeContents(code);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      say(button, document.execCommand("copy") ? "Copied" : "Selected");
    }
  };

  const addButtons = () => {
    for (const code of document.querySelectorAll(".commands code")) {
      const item = code.closest("li");
      if (!item.querySelector("button.copy")) {
        const button = document.createElement("button");
        button.type = "button";
        button.className = "copy";
        button.textContent = "Copy";
        button.setAttribute("aria-label", `Copy ${code.textContent}`);
        button.addEventListener("click", () => copy(button, code));
        item.append(button);
      }
    }
  };

  // What people opened stays open, what they closed stays closed, and the focus where it is.
  const replace = (old, fresh) => {
    for (const one of old.querySelectorAll("details[id]:not([open])")) {
      fresh.querySelector(`#${CSS.escape(one.id)}`)?.removeAttribute("open");
    }
    const open = [...old.querySelectorAll("details[open][id]")].map((one) => one.id);
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    // What has neither an id nor an address is the so many-th of its kind in what has an id.
    const owner = focused?.closest("[id]");
    const kin = (within) => [...(within?.querySelectorAll(focused.localName) ?? [])];
    const place = focused ? kin(owner).indexOf(focused) : -1;
    const href = focused?.getAttribute("href");
    const before = new Map([...old.querySelectorAll("tr[data-status]")].map(
      (row) => [row.dataset.domain || row.dataset.host, row.dataset.status]));
    old.replaceWith(fresh);
    addButtons();
    for (const id of open) {
      const details = document.getElementById(id);
      if (details) details.open = true;
    }
    for (const row of fresh.querySelectorAll("tr[data-status]")) {
      const was = before.get(row.dataset.domain || row.dataset.host);
      if (was && was !== row.dataset.status) row.classList.add("changed");
    }
    if (focused) {
      const same = place < 0 ? document.getElementById(owner?.id)
        : href ? fresh.querySelector(`a[href="${CSS.escape(href)}"]`)
          : kin(document.getElementById(owner.id))[place];
      same?.focus({ preventScroll: true });
    }
  };

  const show = (page) => {
    const verdict = (of) => of.getElementById("verdict")?.textContent.trim();
    const said = verdict(document);
    const fresh = [...page.querySelectorAll("[data-live]")];
    const isSame = fresh.length === document.querySelectorAll("[data-live]").length
      && fresh.every((one) => document.getElementById(one.id));
    if (isSame) {
      for (const one of fresh) replace(document.getElementById(one.id), one);
    } else {
      replace(document.getElementById("main"), page.getElementById("main"));
      document.getElementById("audited").replaceWith(page.getElementById("audited"));
    }
    document.title = page.title;
    document.getElementById("favicon").href = page.getElementById("favicon").getAttribute("href");
    const brand = document.querySelector(".brand svg");
    brand.setAttribute("class", page.querySelector(".brand svg").getAttribute("class"));
    Object.assign(document.documentElement.dataset, page.documentElement.dataset);
    shown = Number(page.documentElement.dataset.at);
    if (verdict(document) !== said) document.getElementById("announce").textContent = verdict(document);
    addButtons();
    tick();
  };

  // One request at a time, at most one a second; none while nobody looks, or a text is marked.
  const refresh = async () => {
    if (busy || wanted <= shown || document.hidden) return;
    const selection = getSelection();
    if (!selection.isCollapsed && document.getElementById("main").contains(selection.anchorNode)) return;
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      // A proxy speaks for a server that is away, or wants a password: what is shown stays.
      if (page.getElementById("audited")) show(page);
    } catch {
      // The server is away: the events say when it is back.
    }
    setTimeout(() => { busy = false; refresh(); }, 1000);
  };

  // A browser has but six connections for a server of HTTP/1.1, and each page that listens holds one: only
  // those do that somebody sees.
  let source = null;
  const listen = () => {
    if (document.hidden || source) return;
    source = new EventSource(`${root}/api/v1/events`);
    source.addEventListener("open", () => {
      live.className = "";
      live.textContent = "live";
    });
    source.addEventListener("changed", (event) => {
      wanted = Date.parse(JSON.parse(event.data).changed);
      refresh();
    });
    source.addEventListener("error", () => {
      live.className = "lost";
      live.textContent = "not connected";
      // Refused for good: browsers try again only where the connection was lost.
      if (source.readyState === EventSource.CLOSED) {
        source = null;
        setTimeout(listen, 10000);
      }
    });
  };
  const leave = () => {
    source?.close();
    source = null;
  };

  live.hidden = false;
  addButtons();
  tick();
  setInterval(tick, 10000);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) leave();
    else listen();
  });
  document.addEventListener("selectionchange", refresh);
  addEventListener("pagehide", leave);
  addEventListener("pageshow", listen);
  listen();
})();
