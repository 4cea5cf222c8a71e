/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * URLs (RFC 3986), see include/staple_url.h for the contract. What lives here:
 * taking one apart, what a redirect's reference means, and the URL of a GET.
 * What does not: names, which the fetch engine resolves.
 *
 * The one idea: a URL is checked byte by byte once, when it is taken apart,
 * and put together again from its parts. What a reference means has to pass
 * the same gate. So whatever is a staple_url_t may be sent, compared and
 * logged as it is.
 */

#include "staple_url.h"
#include "bytes.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include <apr_base64.h>
#include <apr_strings.h>

#include "staple_address.h"

/* A name has at most 253 bytes, each of its labels 63 (RFC 1035 2.3.4). */
#define HOST_MAX 253
#define LABEL_MAX 63

/* A normalised URL begins with it, and its authority follows. */
#define SCHEME "http://"

static char *lower(const char *text, apr_size_t len, apr_pool_t *p)
{
    char *copy = apr_pstrmemdup(p, text, len);
    char *c;

    for (c = copy; *c; c++) {
        if (*c >= 'A' && *c <= 'Z') {
            *c = (char)(*c - 'A' + 'a');
        }
    }
    return copy;
}

const char *staple_url_text(staple_url_e reason)
{
    switch (reason) {
    case STAPLE_URL_OK:
        return "is well formed";
    case STAPLE_URL_TOO_LONG:
        return "is too long";
    case STAPLE_URL_BAD_BYTE:
        return "has a character that no URL has";
    case STAPLE_URL_BAD_SCHEME:
        return "does not begin with http://";
    case STAPLE_URL_BAD_HOST:
        return "names no valid host";
    case STAPLE_URL_BAD_PORT:
        return "has a port that is none";
    }
    return "is not understood";
}

/* Whether text is made of pchar, '/', and what else is allowed (RFC 3986 3.3);
 * every '%' stands before two hex digits. */
static int is_path_text(const char *text, apr_size_t len, const char *also)
{
    apr_size_t i;

    for (i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c == '%') {
            if (len - i < 3 || hex_value((unsigned char)text[i + 1]) < 0
                || hex_value((unsigned char)text[i + 2]) < 0) {
                return 0;
            }
        }
        else if (!is_alpha(c) && !is_digit(c)
                 && !is_one_of(c, "-._~!$&'()*+,;=:@/")
                 && !is_one_of(c, also)) {
            return 0;
        }
    }
    return 1;
}

/* A name whose last label is a number is an address to inet_aton() and so to
 * many a resolver: 127.1, 0x7f000001. Only the plain dotted form is one. */
static int ends_in_number(const char *host)
{
    const char *last = strrchr(host, '.');

    last = last ? last + 1 : host;
    if (last[0] == '0' && (last[1] == 'x' || last[1] == 'X')) {
        last += 2;
        return last[strspn(last, "0123456789abcdef")] == '\0';
    }
    return last[strspn(last, "0123456789")] == '\0';
}

static int is_name(const char *host)
{
    apr_size_t label = 0;
    const char *c;

    for (c = host; *c; c++) {
        if (*c == '.') {
            if (!label) {
                return 0;
            }
            label = 0;
        }
        else if (!is_alpha((unsigned char)*c) && !is_digit((unsigned char)*c)
                 && *c != '-' && *c != '_') {
            return 0;
        }
        else if (++label > LABEL_MAX) {
            return 0;
        }
    }
    return label > 0 && c - host <= HOST_MAX;
}

/* "[...]" at text: an IPv6 address without a zone, in its shortest form. */
static const char *bracketed_host(const char *text, apr_size_t len,
                                  apr_pool_t *p)
{
    unsigned char address[STAPLE_ADDRESS_LEN];
    char shortest[INET6_ADDRSTRLEN];

    if (len < 2 || text[len - 1] != ']'
        || staple_address_read(address, apr_pstrmemdup(p, text + 1, len - 2))
           != STAPLE_ADDRESS_BITS
        || !inet_ntop(AF_INET6, address, shortest, sizeof(shortest))) {
        return NULL;
    }
    return apr_pstrdup(p, shortest);
}

static const char *plain_host(const char *text, apr_size_t len,
                              int *is_address, apr_pool_t *p)
{
    unsigned char address[STAPLE_ADDRESS_LEN];
    char *host = lower(text, len, p);

    if (len > 1 && host[len - 1] == '.') {
        host[len - 1] = '\0'; /* the root's dot: the same name without it */
    }
    if (!is_name(host)) {
        return NULL;
    }
    *is_address = staple_address_read(address, host) > 0;
    return *is_address || !ends_in_number(host) ? host : NULL;
}

/* An empty port is the default one (RFC 3986 3.2.3). */
static int parse_port(const char *text, apr_size_t len, apr_uint16_t *port)
{
    apr_uint32_t value = 0;
    apr_size_t i;

    if (!len) {
        *port = 80;
        return 1;
    }
    for (i = 0; i < len; i++) {
        if (!is_digit((unsigned char)text[i])) {
            return 0;
        }
        value = value * 10 + (apr_uint32_t)(text[i] - '0');
        if (value > 65535) {
            return 0;
        }
    }
    *port = (apr_uint16_t)value;
    return value > 0;
}

static const char *parse_host(const char *text, apr_size_t len,
                              int *is_address, apr_pool_t *p)
{
    if (*text == '[') {
        *is_address = 1;
        return bracketed_host(text, len, p);
    }
    return plain_host(text, len, is_address, p);
}

/* The end of the host that begins at text: its port's colon, or end itself. */
static const char *end_of_host(const char *text, const char *end)
{
    if (*text == '[') { /* whose own colons do not count */
        text = memchr(text, ']', (apr_size_t)(end - text));
    }
    text = text ? memchr(text, ':', (apr_size_t)(end - text)) : NULL;
    return text ? text : end;
}

/* userinfo@host:port; the userinfo is nobody's business and is dropped. */
static staple_url_e parse_authority(staple_url_t *url,
                                    const char *text, apr_size_t len,
                                    apr_pool_t *p)
{
    const char *end = text + len;
    const char *host = memchr(text, '@', len);
    const char *host_end, *port;

    host = host ? host + 1 : text;
    if (memchr(host, '@', (apr_size_t)(end - host))) {
        return STAPLE_URL_BAD_HOST;
    }
    host_end = end_of_host(host, end);
    if (host_end == host) {
        return STAPLE_URL_BAD_HOST;
    }
    url->host = parse_host(host, (apr_size_t)(host_end - host),
                           &url->is_address, p);
    if (!url->host) {
        return STAPLE_URL_BAD_HOST;
    }
    port = host_end < end ? host_end + 1 : end;
    if (!parse_port(port, (apr_size_t)(end - port), &url->port)) {
        return STAPLE_URL_BAD_PORT;
    }
    return STAPLE_URL_OK;
}

static const char *join_authority(const staple_url_t *url, apr_pool_t *p)
{
    int is_ipv6 = strchr(url->host, ':') != NULL;

    return apr_pstrcat(p, is_ipv6 ? "[" : "", url->host, is_ipv6 ? "]" : "",
                       url->port == 80 ? NULL
                                       : apr_psprintf(p, ":%u", url->port),
                       NULL);
}

/* RFC 3986 5.2.4, in place; path begins with '/'. */
static void remove_dot_segments(char *path)
{
    char *to = path;
    const char *from = path;

    while (*from) {
        apr_size_t len = 1 + strcspn(from + 1, "/");
        int is_last = !from[len];

        if (len == 2 && from[1] == '.') {
            from += len;
        }
        else if (len == 3 && from[1] == '.' && from[2] == '.') {
            from += len;
            while (to > path && *--to != '/') {
            }
        }
        else {
            memmove(to, from, len);
            to += len;
            from += len;
            continue;
        }
        if (is_last) {
            *to++ = '/';
        }
    }
    *to = '\0';
}

/* What is behind the authority: path?query#fragment, of which the fragment is
 * not sent and so is dropped. Whether it is well formed. */
static int parse_path(staple_url_t *url, const char *text, apr_pool_t *p)
{
    apr_size_t len = strcspn(text, "?#");
    const char *query = text[len] == '?' ? text + len + 1 : NULL;
    char *path;

    if (!is_path_text(text, len, "")) {
        return 0;
    }
    path = len ? apr_pstrmemdup(p, text, len) : apr_pstrdup(p, "/");
    remove_dot_segments(path);
    url->path = path;
    if (query) {
        len = strcspn(query, "#");
        if (!is_path_text(query, len, "?")) {
            return 0;
        }
        url->query = apr_pstrmemdup(p, query, len);
    }
    return 1;
}

static void join_text(staple_url_t *url, apr_pool_t *p)
{
    url->text = apr_pstrcat(p, SCHEME, url->authority, url->path,
                            url->query ? "?" : NULL, url->query, NULL);
}

staple_url_e staple_url_parse(staple_url_t *url,
                              const char *text, apr_pool_t *p)
{
    staple_url_t made = { 0 };
    staple_url_e reason;
    apr_size_t len;

    if (strlen(text) > STAPLE_URL_MAX) {
        return STAPLE_URL_TOO_LONG;
    }
    if (!is_printable(text) || strpbrk(text, "\"<>\\^`{|}")) {
        return STAPLE_URL_BAD_BYTE;
    }
    if (strncasecmp(text, SCHEME, strlen(SCHEME))) {
        return STAPLE_URL_BAD_SCHEME;
    }
    text += strlen(SCHEME);
    len = strcspn(text, "/?#");
    reason = parse_authority(&made, text, len, p);
    if (reason != STAPLE_URL_OK) {
        return reason;
    }
    if (!parse_path(&made, text + len, p)) {
        return STAPLE_URL_BAD_BYTE;
    }
    made.authority = join_authority(&made, p);
    join_text(&made, p);
    *url = made;
    return STAPLE_URL_OK;
}

const char *staple_url_target(const staple_url_t *url)
{
    return url->text + strlen(SCHEME) + strlen(url->authority);
}

static int has_scheme(const char *reference)
{
    apr_size_t len = strcspn(reference, ":/?#");

    return len > 0 && reference[len] == ':'
           && is_alpha((unsigned char)*reference);
}

/* What of base is put between its authority and the reference: path and query,
 * the path, the path's directory, or nothing. */
static const char *base_for(const char *reference,
                            const staple_url_t *base, apr_pool_t *p)
{
    const char *slash = strrchr(base->path, '/');

    switch (*reference) {
    case '\0':
    case '#':
        return staple_url_target(base);
    case '?':
        return base->path;
    case '/':
        return "";
    }
    return apr_pstrmemdup(p, base->path, (apr_size_t)(slash + 1 - base->path));
}

staple_url_e staple_url_resolve(staple_url_t *url,
                                const staple_url_t *base,
                                const char *reference,
                                apr_pool_t *p)
{
    const char *text = reference;

    if (strlen(reference) > STAPLE_URL_MAX) {
        return STAPLE_URL_TOO_LONG;
    }
    if (!strncmp(reference, "//", 2)) {
        text = apr_pstrcat(p, "http:", reference, NULL);
    }
    else if (!has_scheme(reference)) {
        text = apr_pstrcat(p, SCHEME, base->authority,
                           base_for(reference, base, p), reference, NULL);
    }
    return staple_url_parse(url, text, p);
}

/* Base64's special characters, percent-encoded; NULL: any other one. */
static const char *code_of(char c)
{
    switch (c) {
    case '+':
        return "%2B";
    case '/':
        return "%2F";
    case '=':
        return "%3D";
    default:
        return NULL;
    }
}

/* Base64 with its three special characters percent-encoded. */
static const char *encode_for_path(const unsigned char *der, apr_size_t len,
                                   apr_pool_t *p)
{
    char *base64 = apr_palloc(p,
                              (apr_size_t)apr_base64_encode_len((int)len));
    char *out;
    char *to;
    const char *c;

    apr_base64_encode_binary(base64, der, (int)len);
    to = out = apr_palloc(p, strlen(base64) * 3 + 1);
    for (c = base64; *c; c++) {
        const char *code = code_of(*c);

        if (code) {
            memcpy(to, code, 3);
            to += 3;
        }
        else {
            *to++ = *c;
        }
    }
    *to = '\0';
    return out;
}

int staple_url_for_get(staple_url_t *url,
                       const staple_url_t *responder,
                       const unsigned char *der, apr_size_t len,
                       apr_pool_t *p)
{
    staple_url_t made = *responder;
    apr_size_t path_len = strlen(responder->path);

    if (len > STAPLE_URL_GET_MAX) {
        return 0; /* base64 only makes it longer */
    }
    made.path = apr_pstrcat(p, responder->path,
                            responder->path[path_len - 1] == '/' ? "" : "/",
                            encode_for_path(der, len, p), NULL);
    join_text(&made, p);
    if (strlen(made.text) > STAPLE_URL_GET_MAX) {
        return 0;
    }
    *url = made;
    return 1;
}
