'use strict';
// The worker serves one person's memories on a loopback port. Two things could reach it from a web page elsewhere:
// a request of that page (its Origin tells), and a host name that was re-bound to 127.0.0.1 (the Host tells).

const LOCAL_NAMES = ['127.0.0.1', 'localhost', '[::1]'];

function refuse(response, message) {
  response.status(403).json({ error: message });
}

/**
 * Express middleware that answers 403 unless the request is addressed to this machine by a loopback name and comes
 * from a local program or from the worker's own page. `getPort` tells the port once it is known.
 */
function hostCheck(getPort) {
  return (request, response, next) => {
    const hosts = LOCAL_NAMES.map((name) => `${name}:${getPort()}`);
    const host = (request.headers.host ?? '').toLowerCase();
    if (!hosts.includes(host)) {
      refuse(response, `Host ${JSON.stringify(host)} is not served; use one of ${hosts.join(', ')}.`);
      return;
    }
    const origin = request.headers.origin;
    if (origin !== undefined && !hosts.some((name) => origin.toLowerCase() === `http://${name}`)) {
      refuse(response, `Origin ${JSON.stringify(origin)} may not read or write memories here.`);
      return;
    }
    // Requests without an Origin can still be told apart where the browser says who asks. Following a link to the
    // viewer is fine: the page that holds the link cannot read what it leads to.
    const isVisit =
      request.method === 'GET' &&
      request.headers['sec-fetch-mode'] === 'navigate' &&
      request.headers['sec-fetch-dest'] === 'document';
    const site = request.headers['sec-fetch-site'];
    if ((site === 'cross-site' || site === 'same-site') && origin === undefined && !isVisit) {
      refuse(response, 'Requests from pages of another site are not served.');
      return;
    }
    next();
  };
}

/** Headers that keep a browser from showing, sniffing or running anything else here. */
function securityHeaders(_request, response, next) {
  response.setHeader('X-Content-Type-Options', 'nosniff');
  response.setHeader('Cross-Origin-Resource-Policy', 'same-origin');
  response.setHeader('Referrer-Policy', 'no-referrer');
  response.setHeader(
    'Content-Security-Policy',
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
      "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  );
  next();
}

module.exports = { hostCheck, securityHeaders };
