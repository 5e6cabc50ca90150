/** The messages of a chat, as a form. */

const ROLES = ['system', 'user', 'assistant'];

/**
 * Adds an empty message, or one with a role and a content.
 * @param {HTMLElement} place
 * @param {{role: string, content: string}} [message]
 */
export function addMessage(place, message) {
  const { role, content } = message ?? { role: 'user', content: '' };
  const box = document.createElement('div');
  box.className = 'message';
  const choice = document.createElement('select');
  choice.setAttribute('aria-label', 'Role');
  for (const name of ROLES) {
    choice.add(new Option(name, name, false, name === role));
  }
  const remove = document.createElement('button');
  remove.type = 'button';
  remove.textContent = 'Remove';
  remove.addEventListener('click', () => box.remove());
  const text = document.createElement('textarea');
  text.rows = 2;
  text.value = content;
  text.setAttribute('aria-label', 'Content');
  text.setAttribute('aria-describedby', 'prompt-error');
  box.append(choice, remove, text);
  place.append(box);
}

/**
 * @param {HTMLElement} place
 * @param {{role: string, content: string}[]} messages None: a first one of the user.
 */
export function showMessages(place, messages) {
  place.replaceChildren();
  for (const message of messages.length > 0 ? messages : [undefined]) {
    addMessage(place, message);
  }
}

/**
 * @param {HTMLElement} place
 * @returns {{role: string, content: string}[]}
 */
export function messagesOf(place) {
  return [...place.querySelectorAll('.message')].map((box) => ({
    role: box.querySelector('select').value,
    content: box.querySelector('textarea').value,
  }));
}
