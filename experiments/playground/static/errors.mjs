/** Errors in words, where they belong. */

import { Refused } from './asking.mjs';

const at = (id) => document.getElementById(id);

/** Takes all errors off the page. */
export function clearErrors() {
  for (const place of document.querySelectorAll('.error')) {
    place.textContent = '';
  }
  for (const field of document.querySelectorAll('[aria-invalid]')) {
    field.removeAttribute('aria-invalid');
  }
}

/**
 * Shows an error by the field that it is about; of what was given up, nothing.
 * @param {Error} error
 */
export function show(error) {
  if (error.name === 'AbortError') {
    return;
  }
  const field = error instanceof Refused ? (error.field ?? '') : '';
  const place = document.querySelector(`[data-field="${CSS.escape(field)}"]`);
  (place ?? at('general-error')).textContent = error.message;
  if (field !== '' && at(field)?.matches('input, textarea')) {
    at(field).setAttribute('aria-invalid', 'true');
  }
  at('state').textContent = '';
}
