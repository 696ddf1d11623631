// Clearing a session, once the operator has said so twice.
import { act } from "./api.js";
import { h, say } from "./dom.js";
import { counted } from "./format.js";
import { sentence } from "./table.js";

/** Ask, clear, and call `done`. */
export function clearSession(session, done) {
  const answer = h("p", { role: "alert", class: "problem" });
  const close = () => dialog.close();
  const confirm = h("button", { type: "button", class: "danger", onclick: async () => {
    confirm.disabled = true;
    try {
      const { cleared } = await act("clear-session", { session: String(session.id) });
      say(`${counted(cleared, "session")} cleared.`);
      dialog.close();
      done();
    } catch (failure) {
      answer.textContent = sentence(failure.message);
      confirm.disabled = false;
    }
  } }, "Clear the session");
  const dialog = h("dialog", { "aria-labelledby": "clear-title", onclose: () => dialog.remove() },
    h("h2", { id: "clear-title" }, "Clear this session?"),
    h("p", null, "The session with ", h("span", { class: "code" }, session.peer), ` over ${session.transport} is closed. `,
      `Its ${counted(session.registrations, "registration")} stay for three minutes; an ETR that is well comes back before that and confirms them.`),
    answer,
    h("div", { class: "actions" }, h("button", { type: "button", class: "plain", autofocus: true, onclick: close }, "Cancel"), confirm));
  document.body.append(dialog);
  dialog.showModal();
}
