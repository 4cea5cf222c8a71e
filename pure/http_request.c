/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The bytes of a request (RFC 9112 3), see staple_http.h for the contract.
 *
 * The one idea: what a responder has once given us goes back to it as a header
 * field (its validators), and a line end in there would write a request of its
 * own. So a value that is not printable ASCII is no field.
 */

#include "http_int.h"

#include <apr_strings.h>

/* What an OCSP request is called (RFC 6960 A.1). */
#define OCSP_REQUEST_TYPE "application/ocsp-request"

/* A header line, or nothing where the value would break out of its line. */
static const char *line_of(const char *name, const char *value, apr_pool_t *p)
{
    const unsigned char *c = (const unsigned char *)value;

    while (c && *c >= ' ' && *c < 0x7f) {
        c++;
    }
    return c && !*c ? apr_pstrcat(p, name, ": ", value, "\r\n", NULL) : "";
}

/* Who asks, for a proxy that wants to know (RFC 9110 11.7.2). */
static const char *authorization(const staple_http_ask_t *ask, apr_pool_t *p)
{
    return ask->is_proxied && ask->proxy_credentials
           ? line_of("Proxy-Authorization",
                     apr_pstrcat(p, "Basic ", ask->proxy_credentials, NULL), p)
           : "";
}

const char *staple_http_request(const staple_url_t *url,
                                const staple_http_ask_t *ask,
                                apr_size_t *len, apr_pool_t *p)
{
    const char *target = ask->is_proxied ? url->text
                       : staple_url_target(url); /* RFC 9112 3.2 */
    const char *content = "";
    char *head;
    char *bytes;
    apr_size_t head_len;

    if (ask->body) {
        content = apr_psprintf(p, "Content-Type: " OCSP_REQUEST_TYPE "\r\n"
                               "Content-Length: %" APR_SIZE_T_FMT "\r\n",
                               ask->body_len);
    }
    head = apr_pstrcat(p, ask->body ? "POST " : "GET ", target, " HTTP/1.1\r\n",
                       line_of("Host", url->authority, p),
                       line_of("User-Agent", ask->user_agent, p),
                       authorization(ask, p),
                       line_of("Accept", ask->accept ? ask->accept
                                                     : OCSP_RESPONSE_TYPE, p),
                       "Connection: keep-alive\r\n",
                       ask->is_past_caches ? "Cache-Control: no-cache\r\n" : "",
                       line_of("If-None-Match", ask->if_none_match, p),
                       line_of("If-Modified-Since", ask->if_modified_since, p),
                       content, "\r\n", NULL);
    head_len = strlen(head);
    if (!ask->body) {
        *len = head_len;
        return head;
    }
    *len = head_len + ask->body_len;
    bytes = apr_palloc(p, *len);
    memcpy(bytes, head, head_len);
    memcpy(bytes + head_len, ask->body, ask->body_len);
    return bytes;
}
