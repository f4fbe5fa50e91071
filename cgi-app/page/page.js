// The page at /, live: each change of the message is sent to the API, one request at a time, and the answer shown.

const RETRY_MS = 2000; // after an answer that is not the message's fault
const PAUSE_MS = 700; // of typing, after which a screen reader says the answer
const DASH = "–";

const element = (id) => document.getElementById(id);
const message = element("message");
let running = false; // a request is on its way
let changed = false; // the message is not the one that was sent
let retry; // timers
let speech;

// ---- showing ----

function speak(text) {
    clearTimeout(speech);
    speech = setTimeout(() => { element("spoken").textContent = text; }, PAUSE_MS);
}

function milliseconds(value) {
    return value < 1 ? "under 1 ms" : `${Math.round(value)} ms`;
}

// Server-Timing: app;dur=0, transform;dur=1; or, when a call was made again, all of it as a description.
function hopsOf(field) {
    return [...field.matchAll(/([\w-]+);(?:dur=([\d.]+)|desc="([^"]*)")/g)]
        .map(([, name, duration, text]) =>
            [`nginx to ${name}`, duration === undefined ? `${text} s` : milliseconds(Number(duration))]);
}

function row(cells) {
    const line = document.createElement("tr");
    for (const text of cells)
        line.append(Object.assign(document.createElement("td"), { textContent: text }));
    return line;
}

function showWay(response, whole) {
    const hops = hopsOf(response.headers.get("Server-Timing") ?? "");
    element("request-id").textContent = response.headers.get("X-Request-ID") ?? DASH;
    element("hops").replaceChildren(...[["This browser to nginx, and back", milliseconds(whole)], ...hops].map(row));
}

function showAnswer(answer) {
    element("problem").replaceChildren();
    element("reversed").classList.remove("old");
    element("reversed").textContent = answer.message;
    element("number").textContent = answer.rand;
    speak(answer.message === "" ? "The message is empty." : `Reversed: ${answer.message}`);
}

function sentence(text) {
    return text === "" ? "" : `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}

// A heading and a sentence. The last answer stays, marked as old.
function showProblem(heading, detail) {
    const strong = Object.assign(document.createElement("strong"), { textContent: heading });
    element("problem").replaceChildren(strong, sentence(detail));
    element("reversed").classList.add("old");
    element("number").textContent = DASH;
    clearTimeout(speech); // the problem is an alert, which is said at once
}

// ---- asking ----

function again(heading, detail) {
    const seconds = RETRY_MS / 1000;
    showProblem(heading, `${sentence(detail)} This page tries again every ${seconds} seconds.`.trim());
    clearTimeout(retry);
    retry = setTimeout(update, RETRY_MS);
}

// What is for programs is left out: a place in the JSON, which nobody here has seen, and what this page does by itself.
async function showRefusal(response) {
    const problem = await response.json().catch(() => ({}));
    const detail = (problem.detail ?? `The server answered with status ${response.status}`)
        .replace(/, at line \d+.*$/, "").replace(/; try again$/, "");
    if (response.status === 429)
        again("Too many requests", detail);
    else if (response.status >= 500)
        again("There is no answer at the moment", detail);
    else
        showProblem("This message cannot be taken", detail);
}

async function ask(text) {
    const begun = performance.now();
    const response = await fetch("api/timed", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ message: text }),
    });
    showWay(response, performance.now() - begun);
    if (response.ok)
        showAnswer(await response.json());
    else
        await showRefusal(response);
}

async function update() {
    changed = true;
    if (running)
        return;
    running = true;
    clearTimeout(retry);
    while (changed) {
        changed = false;
        await ask(message.value).catch(() => again("The server cannot be reached", "It may be starting, or the network is down"));
    }
    running = false;
}

element("live").hidden = false;
element("origin").textContent = new URL(".", location.href).href;
element("form").addEventListener("submit", (event) => event.preventDefault());
message.addEventListener("input", update);
update();
