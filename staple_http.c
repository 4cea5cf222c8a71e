/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * HTTP as values, see staple_http.h for the contract. What lives here: URLs
 * (RFC 3986), the bytes of a request, and a response parser (RFC 9112) with
 * what its header fields mean (RFC 9110, 9111). What does not: sockets, time,
 * and any knowledge of OCSP beyond its two media types.
 *
 * The one idea of the parser: it has two appetites. Outside of a body it
 * collects a line, in a body it takes as many bytes as it was told to. Each
 * state says which of the two is next and, once that is complete, which state
 * follows; so it makes no difference how the bytes were cut on their way.
 */

#include "staple_http.h"

#include <arpa/inet.h>
#include <string.h>

#include <apr_base64.h>
#include <apr_date.h>
#include <apr_strings.h>

#define OCSP_REQUEST_TYPE "application/ocsp-request"
#define OCSP_RESPONSE_TYPE "application/ocsp-response"

/* A name has at most 253 bytes, each of its labels 63 (RFC 1035 2.3.4). */
#define HOST_MAX 253
#define LABEL_MAX 63

/* Numbers of seconds saturate here, as RFC 9111 1.2.2 has it. */
#define SECONDS_MAX 0x7fffffff

/* An etag longer than this is not worth sending back. */
#define ETAG_MAX 128

/* The first allocation for a body whose length is not known. */
#define BODY_STEP 4096

/* ---- bytes ---- */

static int is_alpha(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

static int hex_value(unsigned char c)
{
    if (is_digit(c)) {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int is_one_of(unsigned char c, const char *set)
{
    return c && strchr(set, c) != NULL;
}

/* RFC 9110 5.6.2 */
static int is_token_byte(unsigned char c)
{
    return is_alpha(c) || is_digit(c) || is_one_of(c, "!#$%&'*+-.^_`|~");
}

static int is_blank(unsigned char c)
{
    return c == ' ' || c == '\t';
}

static int is_printable(const char *text)
{
    const unsigned char *c = (const unsigned char *)text;

    while (*c > ' ' && *c < 0x7f) {
        c++;
    }
    return !*c;
}

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

const char *staple_http_printable(const char *text, apr_size_t len,
                                  apr_size_t max, apr_pool_t *p)
{
    static const char hex[] = "0123456789abcdef";
    apr_size_t shown = len < max ? len : max;
    char *out = apr_palloc(p, shown * 4 + sizeof("..."));
    char *to = out;
    apr_size_t i;

    for (i = 0; i < shown; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c >= ' ' && c < 0x7f && c != '\\') {
            *to++ = (char)c;
            continue;
        }
        *to++ = '\\';
        *to++ = 'x';
        *to++ = hex[c >> 4];
        *to++ = hex[c & 15];
    }
    strcpy(to, shown < len ? "..." : "");
    return out;
}

/* ---- URLs ---- */

const char *staple_http_url_text(staple_http_url_e reason)
{
    switch (reason) {
    case STAPLE_HTTP_URL_OK:
        return "is well formed";
    case STAPLE_HTTP_URL_TOO_LONG:
        return "is too long";
    case STAPLE_HTTP_URL_BAD_BYTE:
        return "has a character that no URL has";
    case STAPLE_HTTP_URL_BAD_SCHEME:
        return "does not begin with http://";
    case STAPLE_HTTP_URL_BAD_HOST:
        return "names no valid host";
    case STAPLE_HTTP_URL_BAD_PORT:
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
    struct in6_addr address;
    char shortest[INET6_ADDRSTRLEN];

    if (len < 2 || text[len - 1] != ']'
        || inet_pton(AF_INET6, apr_pstrmemdup(p, text + 1, len - 2),
                     &address) != 1
        || !inet_ntop(AF_INET6, &address, shortest, sizeof(shortest))) {
        return NULL;
    }
    return apr_pstrdup(p, shortest);
}

static const char *plain_host(const char *text, apr_size_t len,
                              int *is_address, apr_pool_t *p)
{
    struct in_addr address;
    char *host = lower(text, len, p);

    if (len > 1 && host[len - 1] == '.') {
        host[len - 1] = '\0'; /* the root's dot: the same name without it */
    }
    if (!is_name(host)) {
        return NULL;
    }
    *is_address = inet_pton(AF_INET, host, &address) == 1;
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

/* userinfo@host:port; the userinfo is nobody's business and is dropped. */
static staple_http_url_e parse_authority(staple_http_url_t *url,
                                         const char *text, apr_size_t len,
                                         apr_pool_t *p)
{
    const char *end = text + len;
    const char *host = memchr(text, '@', len);
    const char *colon;
    apr_size_t host_len;

    host = host ? host + 1 : text;
    if (memchr(host, '@', (apr_size_t)(end - host))) {
        return STAPLE_HTTP_URL_BAD_HOST;
    }
    colon = *host == '[' ? memchr(host, ']', (apr_size_t)(end - host)) : host;
    colon = colon ? memchr(colon, ':', (apr_size_t)(end - colon)) : NULL;
    host_len = (apr_size_t)((colon ? colon : end) - host);
    if (!host_len) {
        return STAPLE_HTTP_URL_BAD_HOST;
    }
    if (*host == '[') {
        url->host = bracketed_host(host, host_len, p);
        url->is_address = 1;
    }
    else {
        url->host = plain_host(host, host_len, &url->is_address, p);
    }
    if (!url->host) {
        return STAPLE_HTTP_URL_BAD_HOST;
    }
    colon = colon ? colon + 1 : end;
    if (!parse_port(colon, (apr_size_t)(end - colon), &url->port)) {
        return STAPLE_HTTP_URL_BAD_PORT;
    }
    return STAPLE_HTTP_URL_OK;
}

static const char *join_authority(const staple_http_url_t *url, apr_pool_t *p)
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

static void join_text(staple_http_url_t *url, apr_pool_t *p)
{
    url->text = apr_pstrcat(p, "http://", url->authority, url->path,
                            url->query ? "?" : NULL, url->query, NULL);
}

staple_http_url_e staple_http_url_parse(staple_http_url_t *url,
                                        const char *text, apr_pool_t *p)
{
    staple_http_url_t made = { 0 };
    staple_http_url_e reason;
    apr_size_t len = strlen(text);
    const char *rest;
    char *path;

    if (len > STAPLE_HTTP_URL_MAX) {
        return STAPLE_HTTP_URL_TOO_LONG;
    }
    if (!is_printable(text) || strpbrk(text, "\"<>\\^`{|}")) {
        return STAPLE_HTTP_URL_BAD_BYTE;
    }
    if (strncasecmp(text, "http://", 7)) {
        return STAPLE_HTTP_URL_BAD_SCHEME;
    }
    text += 7;
    len = strcspn(text, "/?#");
    reason = parse_authority(&made, text, len, p);
    if (reason != STAPLE_HTTP_URL_OK) {
        return reason;
    }
    made.authority = join_authority(&made, p);
    text += len;
    len = strcspn(text, "?#");
    rest = text + len;
    if (!is_path_text(text, len, "")) {
        return STAPLE_HTTP_URL_BAD_BYTE;
    }
    path = len ? apr_pstrmemdup(p, text, len) : apr_pstrdup(p, "/");
    remove_dot_segments(path);
    made.path = path;
    if (*rest == '?') {
        len = strcspn(++rest, "#");
        if (!is_path_text(rest, len, "?")) {
            return STAPLE_HTTP_URL_BAD_BYTE;
        }
        made.query = apr_pstrmemdup(p, rest, len);
    }
    join_text(&made, p);
    *url = made;
    return STAPLE_HTTP_URL_OK;
}

static int has_scheme(const char *reference)
{
    apr_size_t len = strcspn(reference, ":/?#");

    return len > 0 && reference[len] == ':'
           && is_alpha((unsigned char)*reference);
}

staple_http_url_e staple_http_url_resolve(staple_http_url_t *url,
                                          const staple_http_url_t *base,
                                          const char *reference,
                                          apr_pool_t *p)
{
    const char *path = "";

    if (strlen(reference) > STAPLE_HTTP_URL_MAX) {
        return STAPLE_HTTP_URL_TOO_LONG;
    }
    if (has_scheme(reference)) {
        return staple_http_url_parse(url, reference, p);
    }
    if (!strncmp(reference, "//", 2)) {
        return staple_http_url_parse(url,
                                     apr_pstrcat(p, "http:", reference, NULL),
                                     p);
    }
    if (*reference == '?') {
        path = base->path;
    }
    else if (!*reference || *reference == '#') {
        path = base->text + strlen("http://") + strlen(base->authority);
    }
    else if (*reference != '/') {
        const char *slash = strrchr(base->path, '/');

        path = apr_pstrmemdup(p, base->path,
                              (apr_size_t)(slash + 1 - base->path));
    }
    return staple_http_url_parse(url,
                                 apr_pstrcat(p, "http://", base->authority,
                                             path, reference, NULL),
                                 p);
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
        const char *code = *c == '+' ? "%2B" : *c == '/' ? "%2F"
                         : *c == '=' ? "%3D" : NULL;

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

int staple_http_url_for_get(staple_http_url_t *url,
                            const staple_http_url_t *responder,
                            const unsigned char *der, apr_size_t len,
                            apr_pool_t *p)
{
    staple_http_url_t made = *responder;
    apr_size_t path_len = strlen(responder->path);

    if (len > STAPLE_HTTP_GET_MAX) {
        return 0; /* base64 only makes it longer */
    }
    made.path = apr_pstrcat(p, responder->path,
                            responder->path[path_len - 1] == '/' ? "" : "/",
                            encode_for_path(der, len, p), NULL);
    join_text(&made, p);
    if (strlen(made.text) > STAPLE_HTTP_GET_MAX) {
        return 0;
    }
    *url = made;
    return 1;
}

/* ---- requests ---- */

/* A header line, or nothing where the value would break out of its line. */
static const char *field(const char *name, const char *value, apr_pool_t *p)
{
    const unsigned char *c = (const unsigned char *)value;

    while (c && *c >= ' ' && *c < 0x7f) {
        c++;
    }
    return c && !*c ? apr_pstrcat(p, name, ": ", value, "\r\n", NULL) : "";
}

const char *staple_http_request(const staple_http_url_t *url,
                                const staple_http_ask_t *ask,
                                apr_size_t *len, apr_pool_t *p)
{
    const char *target = url->text;
    const char *content = "";
    char *head;
    char *bytes;
    apr_size_t head_len;

    if (!ask->is_proxied) { /* RFC 9112 3.2: what follows the authority */
        target += strlen("http://") + strlen(url->authority);
    }
    if (ask->body) {
        content = apr_psprintf(p, "Content-Type: " OCSP_REQUEST_TYPE "\r\n"
                               "Content-Length: %" APR_SIZE_T_FMT "\r\n",
                               ask->body_len);
    }
    head = apr_pstrcat(p, ask->body ? "POST " : "GET ", target, " HTTP/1.1\r\n",
                       field("Host", url->authority, p),
                       field("User-Agent", ask->user_agent, p),
                       "Accept: " OCSP_RESPONSE_TYPE "\r\n"
                       "Connection: keep-alive\r\n",
                       field("If-None-Match", ask->if_none_match, p),
                       field("If-Modified-Since", ask->if_modified_since, p),
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

/* ---- responses ---- */

struct staple_http_parser_t {
    staple_http_state_e state;
    staple_http_fault_e fault;
    staple_http_limits_t limits;
    staple_http_response_t response;
    apr_pool_t *pool;

    char *line;               /* what was collected of the current line */
    apr_size_t line_len;
    apr_size_t header_bytes;  /* spent of limits.max_header_bytes */
    int headers;              /* spent of limits.max_headers */

    apr_uint64_t length;      /* of Content-Length */
    int has_length;
    int has_coding;           /* Transfer-Encoding: chunked was seen */
    int has_close;            /* Connection: close */
    int has_keepalive;        /* Connection: keep-alive */
    int has_head;             /* the header section of a final response */

    apr_uint64_t wanted;      /* bytes left of the body, or of the chunk */
    unsigned char *body;
    apr_size_t body_size;     /* of the allocation */
};

const char *staple_http_state_text(staple_http_state_e state)
{
    switch (state) {
    case STAPLE_HTTP_AT_STATUS:
        return "status line";
    case STAPLE_HTTP_AT_HEADER:
        return "header";
    case STAPLE_HTTP_AT_BODY:
        return "body";
    case STAPLE_HTTP_AT_CHUNK_SIZE:
        return "chunk size";
    case STAPLE_HTTP_AT_CHUNK:
        return "chunk";
    case STAPLE_HTTP_AT_CHUNK_END:
        return "end of chunk";
    case STAPLE_HTTP_AT_TRAILER:
        return "trailer";
    case STAPLE_HTTP_AT_REST:
        return "body until close";
    case STAPLE_HTTP_AT_END:
        return "end";
    case STAPLE_HTTP_AT_FAULT:
        return "fault";
    }
    return "unknown";
}

const char *staple_http_fault_text(staple_http_fault_e fault)
{
    switch (fault) {
    case STAPLE_HTTP_OK:
        return "is well formed";
    case STAPLE_HTTP_NO_ANSWER:
        return "did not come, the connection was closed";
    case STAPLE_HTTP_TRUNCATED:
        return "is shorter than announced";
    case STAPLE_HTTP_BODY_TOO_LARGE:
        return "is too large";
    case STAPLE_HTTP_NOT_HTTP:
        return "is not HTTP";
    case STAPLE_HTTP_BAD_STATUS:
        return "has a status code that is none";
    case STAPLE_HTTP_BAD_UPGRADE:
        return "switches to a protocol that was not asked for";
    case STAPLE_HTTP_LINE_TOO_LONG:
        return "has a header line that is too long";
    case STAPLE_HTTP_HEAD_TOO_LARGE:
        return "has too large a header";
    case STAPLE_HTTP_TOO_MANY_HEADERS:
        return "has too many header lines";
    case STAPLE_HTTP_BAD_BYTE:
        return "has a control character in its header";
    case STAPLE_HTTP_BAD_HEADER:
        return "has a header line that is none";
    case STAPLE_HTTP_FOLDED_HEADER:
        return "has a folded header line";
    case STAPLE_HTTP_BAD_LENGTH:
        return "has a Content-Length that is no number";
    case STAPLE_HTTP_TWO_LENGTHS:
        return "has lengths that contradict each other";
    case STAPLE_HTTP_BAD_CODING:
        return "has an unknown Transfer-Encoding";
    case STAPLE_HTTP_BAD_CHUNK:
        return "is wrongly chunked";
    }
    return "is not understood";
}

staple_http_limits_t staple_http_limits(apr_size_t max_body)
{
    staple_http_limits_t limits = { 8192, 32768, 100, 0 };

    limits.max_body = max_body;
    return limits;
}

static void expect_response(staple_http_parser_t *parser)
{
    staple_http_response_t none = { 0 };

    none.retry_seconds = none.max_age = none.age = -1;
    parser->response = none;
    parser->has_length = parser->has_coding = 0;
    parser->has_close = parser->has_keepalive = 0;
    parser->state = STAPLE_HTTP_AT_STATUS;
}

staple_http_parser_t *staple_http_parser_create(
    const staple_http_limits_t *limits, apr_pool_t *p)
{
    staple_http_parser_t *parser = apr_pcalloc(p, sizeof(*parser));

    parser->limits = *limits;
    parser->pool = p;
    parser->line = apr_palloc(p, limits->max_line + 2); /* CR, NUL */
    expect_response(parser);
    return parser;
}

static void fail(staple_http_parser_t *parser, staple_http_fault_e fault)
{
    parser->fault = fault;
    parser->state = STAPLE_HTTP_AT_FAULT;
    parser->response.is_reusable = 0;
}

/* 1*DIGIT as a number of seconds that saturates; -1: it is none. */
static apr_int64_t parse_seconds(const char *text)
{
    apr_int64_t value = 0;

    if (!*text) {
        return -1;
    }
    for (; *text; text++) {
        if (!is_digit((unsigned char)*text)) {
            return -1;
        }
        value = value * 10 + (*text - '0');
        if (value > SECONDS_MAX) {
            value = SECONDS_MAX;
        }
    }
    return value;
}

/* Cut blanks off both ends, in place. */
static char *trim(char *text)
{
    char *end;

    text += strspn(text, " \t");
    end = text + strlen(text);
    while (end > text && is_blank((unsigned char)end[-1])) {
        *--end = '\0';
    }
    return text;
}

/*
 * The next member of a comma-separated list: "name", "name=value" or
 * "name="value"" (RFC 9111 5.2), cut out of the list in place.
 * Returns the name, or NULL at the end; *value is "" where there is none.
 */
static char *next_member(char **list, char **value)
{
    char *name = *list + strspn(*list, ", \t");
    char *end = name + strcspn(name, "=, \t");
    char *rest = end + strspn(end, " \t");

    *value = end;
    if (!*name) {
        return NULL;
    }
    if (*rest == '=' && rest[1] == '"') {
        *value = rest + 2;
        rest = *value + strcspn(*value, "\"");
    }
    else if (*rest == '=') {
        *value = rest + 1;
        rest = *value + strcspn(*value, ", \t");
    }
    *list = rest + strcspn(rest, ",");
    if (**list) {
        (*list)++; /* the comma may be the byte that is cut off below */
    }
    *rest = *end = '\0';
    return name;
}

/* 1*DIGIT that fits; 0: it is none. */
static int parse_length(const char *text, apr_uint64_t *length)
{
    const char *c;

    *length = 0;
    for (c = text; is_digit((unsigned char)*c); c++) {
        if (*length > (APR_UINT64_MAX - 9) / 10) {
            return 0;
        }
        *length = *length * 10 + (apr_uint64_t)(*c - '0');
    }
    return c > text && !*c;
}

/* Two equal lengths are one (RFC 9110 8.6), two different ones are an attack
 * or a broken gateway. */
static void take_content_length(staple_http_parser_t *parser, char *value)
{
    apr_uint64_t length;
    char *next;

    for (; value; value = next) {
        next = strchr(value, ',');
        if (next) {
            *next++ = '\0';
        }
        if (!parse_length(trim(value), &length)) {
            fail(parser, STAPLE_HTTP_BAD_LENGTH);
            return;
        }
        if (parser->has_length && parser->length != length) {
            fail(parser, STAPLE_HTTP_TWO_LENGTHS);
            return;
        }
        parser->has_length = 1;
        parser->length = length;
    }
}

/* No TE was sent, so chunked, once, is all there may be (RFC 9112 6.1). */
static void take_transfer_encoding(staple_http_parser_t *parser, char *value)
{
    if (parser->has_coding || strcasecmp(value, "chunked")) {
        fail(parser, STAPLE_HTTP_BAD_CODING);
        return;
    }
    parser->has_coding = 1;
}

static void take_connection(staple_http_parser_t *parser, char *value)
{
    char *option;
    char *none;

    while ((option = next_member(&value, &none)) != NULL) {
        if (!strcasecmp(option, "close")) {
            parser->has_close = 1;
        }
        else if (!strcasecmp(option, "keep-alive")) {
            parser->has_keepalive = 1;
        }
    }
}

static void take_content_type(staple_http_parser_t *parser, char *value)
{
    value[strcspn(value, "; \t")] = '\0';
    parser->response.is_typed = !strcasecmp(value, OCSP_RESPONSE_TYPE);
}

static void take_location(staple_http_parser_t *parser, char *value)
{
    if (!parser->response.location && *value && is_printable(value)
        && strlen(value) <= STAPLE_HTTP_URL_MAX) {
        parser->response.location = apr_pstrdup(parser->pool, value);
    }
}

static void take_retry_after(staple_http_parser_t *parser, char *value)
{
    parser->response.retry_seconds = parse_seconds(value);
    if (parser->response.retry_seconds < 0) {
        parser->response.retry_at = apr_date_parse_http(value);
    }
}

/* A max-age that is no number means stale (RFC 9111 4.2.1); of several the
 * shortest is the safe one. */
static void take_cache_control(staple_http_parser_t *parser, char *value)
{
    staple_http_response_t *response = &parser->response;
    char *name;
    char *argument;

    while ((name = next_member(&value, &argument)) != NULL) {
        if (!strcasecmp(name, "no-store") || !strcasecmp(name, "no-cache")) {
            response->is_uncacheable = 1;
        }
        else if (!strcasecmp(name, "max-age")) {
            apr_int64_t age = parse_seconds(argument);

            age = age < 0 ? 0 : age;
            if (response->max_age < 0 || age < response->max_age) {
                response->max_age = age;
            }
        }
    }
}

static void take_expires(staple_http_parser_t *parser, char *value)
{
    parser->response.expires = apr_date_parse_http(value);
    parser->response.has_expires = 1;
}

static void take_date(staple_http_parser_t *parser, char *value)
{
    parser->response.date = apr_date_parse_http(value);
}

static void take_age(staple_http_parser_t *parser, char *value)
{
    parser->response.age = parse_seconds(value);
}

/* [W/]"etagc*" (RFC 9110 8.8.3), as far as it is ASCII. */
static void take_etag(staple_http_parser_t *parser, char *value)
{
    const char *tag = strncmp(value, "W/", 2) ? value : value + 2;
    apr_size_t len = strlen(tag);

    if (len >= 2 && len <= ETAG_MAX && is_printable(tag) && *tag == '"'
        && strchr(tag + 1, '"') == tag + len - 1) {
        parser->response.etag = apr_pstrdup(parser->pool, value);
    }
}

/* Written anew: the date is then what it means, not what was sent. */
static void take_last_modified(staple_http_parser_t *parser, char *value)
{
    apr_time_t date = apr_date_parse_http(value);
    char text[APR_RFC822_DATE_LEN];

    if (date > 0 && apr_rfc822_date(text, date) == APR_SUCCESS) {
        parser->response.last_modified = apr_pstrdup(parser->pool, text);
    }
}

typedef void take_fn(staple_http_parser_t *parser, char *value);

static const struct {
    const char *name;
    take_fn *take;
} fields[] = {
    { "Content-Length", take_content_length },
    { "Transfer-Encoding", take_transfer_encoding },
    { "Connection", take_connection },
    { "Content-Type", take_content_type },
    { "Location", take_location },
    { "Retry-After", take_retry_after },
    { "Cache-Control", take_cache_control },
    { "Expires", take_expires },
    { "Date", take_date },
    { "Age", take_age },
    { "ETag", take_etag },
    { "Last-Modified", take_last_modified }
};

/* HTTP/1.x SP 3DIGIT [ SP reason ]; the reason is not even looked at. */
static void end_status_line(staple_http_parser_t *parser)
{
    const char *line = parser->line;

    if (parser->line_len < 12 || strncmp(line, "HTTP/1.", 7)
        || !is_digit((unsigned char)line[7]) || line[8] != ' ') {
        fail(parser, STAPLE_HTTP_NOT_HTTP);
        return;
    }
    if (line[9] < '1' || line[9] > '5' || !is_digit((unsigned char)line[10])
        || !is_digit((unsigned char)line[11])
        || (line[12] && line[12] != ' ')) {
        fail(parser, STAPLE_HTTP_BAD_STATUS);
        return;
    }
    parser->response.minor = line[7] - '0';
    parser->response.status = (line[9] - '0') * 100 + (line[10] - '0') * 10
                              + (line[11] - '0');
    parser->state = STAPLE_HTTP_AT_HEADER;
}

/* The length of a field's name, with its value cut free of blanks at both
 * ends; 0 after a fault. */
static apr_size_t split_field(staple_http_parser_t *parser, char **value)
{
    char *line = parser->line;
    apr_size_t name_len = 0;

    if (is_blank((unsigned char)*line)) {
        fail(parser, STAPLE_HTTP_FOLDED_HEADER);
        return 0;
    }
    while (is_token_byte((unsigned char)line[name_len])) {
        name_len++;
    }
    if (!name_len || line[name_len] != ':') {
        fail(parser, STAPLE_HTTP_BAD_HEADER);
        return 0;
    }
    *value = trim(line + name_len + 1);
    return name_len;
}

static int count_field(staple_http_parser_t *parser)
{
    if (++parser->headers > parser->limits.max_headers) {
        fail(parser, STAPLE_HTTP_TOO_MANY_HEADERS);
        return 0;
    }
    return 1;
}

/* The 3-digit status decides, then the framing fields (RFC 9112 6.3). */
static void end_head(staple_http_parser_t *parser)
{
    staple_http_response_t *response = &parser->response;
    int is_bodiless = response->status == 204 || response->status == 304;

    if (response->status == 101) {
        fail(parser, STAPLE_HTTP_BAD_UPGRADE);
        return;
    }
    if (response->status < 200) {
        expect_response(parser);
        return;
    }
    if (parser->has_coding && (parser->has_length || !response->minor)) {
        fail(parser, parser->has_length ? STAPLE_HTTP_TWO_LENGTHS
                                        : STAPLE_HTTP_BAD_CODING);
        return;
    }
    parser->has_head = 1;
    response->is_reusable = !parser->has_close
                            && (response->minor || parser->has_keepalive);
    if (is_bodiless) {
        parser->state = STAPLE_HTTP_AT_END;
    }
    else if (parser->has_coding) {
        parser->state = STAPLE_HTTP_AT_CHUNK_SIZE;
    }
    else if (!parser->has_length) {
        response->is_reusable = 0;
        parser->state = STAPLE_HTTP_AT_REST;
    }
    else if (parser->length > parser->limits.max_body) {
        fail(parser, STAPLE_HTTP_BODY_TOO_LARGE);
    }
    else {
        parser->wanted = parser->length;
        parser->state = parser->wanted ? STAPLE_HTTP_AT_BODY
                                       : STAPLE_HTTP_AT_END;
    }
}

static void end_header_line(staple_http_parser_t *parser)
{
    char *value;
    apr_size_t name_len;
    apr_size_t i;

    if (!parser->line_len) {
        end_head(parser);
        return;
    }
    name_len = count_field(parser) ? split_field(parser, &value) : 0;
    if (!name_len) {
        return;
    }
    for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (strlen(fields[i].name) == name_len
            && !strncasecmp(fields[i].name, parser->line, name_len)) {
            fields[i].take(parser, value);
            return;
        }
    }
}

/* 1*HEXDIG [ chunk-ext ], and no more than the body may still grow. */
static void end_chunk_size(staple_http_parser_t *parser)
{
    const unsigned char *c = (const unsigned char *)parser->line;
    apr_uint64_t size = 0;
    apr_size_t extension;
    int digit;

    if (hex_value(*c) < 0) {
        fail(parser, STAPLE_HTTP_BAD_CHUNK);
        return;
    }
    for (; (digit = hex_value(*c)) >= 0; c++) {
        if (size > APR_UINT64_MAX >> 4) {
            fail(parser, STAPLE_HTTP_BAD_CHUNK);
            return;
        }
        size = size << 4 | (apr_uint64_t)digit;
    }
    extension = strlen((const char *)c);
    while (is_blank(*c)) {
        c++;
    }
    if (extension > parser->limits.max_header_bytes - parser->header_bytes) {
        fail(parser, STAPLE_HTTP_HEAD_TOO_LARGE);
        return;
    }
    parser->header_bytes += extension;
    if (*c && *c != ';') {
        fail(parser, STAPLE_HTTP_BAD_CHUNK);
    }
    else if (size > parser->limits.max_body - parser->response.body_len) {
        fail(parser, STAPLE_HTTP_BODY_TOO_LARGE);
    }
    else {
        parser->wanted = size;
        parser->state = size ? STAPLE_HTTP_AT_CHUNK : STAPLE_HTTP_AT_TRAILER;
    }
}

static void end_chunk(staple_http_parser_t *parser)
{
    if (parser->line_len) {
        fail(parser, STAPLE_HTTP_BAD_CHUNK);
        return;
    }
    parser->state = STAPLE_HTTP_AT_CHUNK_SIZE;
}

/* Trailers are checked like headers and mean nothing (RFC 9110 6.5.1). */
static void end_trailer_line(staple_http_parser_t *parser)
{
    char *value;

    if (!parser->line_len) {
        parser->state = STAPLE_HTTP_AT_END;
    }
    else if (count_field(parser)) {
        split_field(parser, &value);
    }
}

static int is_chunk_framing(const staple_http_parser_t *parser)
{
    return parser->state == STAPLE_HTTP_AT_CHUNK_SIZE
           || parser->state == STAPLE_HTTP_AT_CHUNK_END;
}

/*
 * A line is complete but for its LF. Outside of chunk framing a lone LF ends
 * a line too (RFC 9112 2.2); a CR anywhere else, a NUL or another control
 * character is no part of a line.
 */
static void end_line(staple_http_parser_t *parser)
{
    const unsigned char *c = (const unsigned char *)parser->line;
    const unsigned char *end;

    if (parser->line_len && parser->line[parser->line_len - 1] == '\r') {
        parser->line_len--;
    }
    else if (is_chunk_framing(parser)) {
        fail(parser, STAPLE_HTTP_BAD_CHUNK);
        return;
    }
    if (parser->line_len > parser->limits.max_line) {
        fail(parser, STAPLE_HTTP_LINE_TOO_LONG);
        return;
    }
    for (end = c + parser->line_len; c < end; c++) {
        if ((*c < ' ' && *c != '\t') || *c == 0x7f) {
            fail(parser, STAPLE_HTTP_BAD_BYTE);
            return;
        }
    }
    parser->line[parser->line_len] = '\0';
    switch (parser->state) {
    case STAPLE_HTTP_AT_STATUS:
        end_status_line(parser);
        break;
    case STAPLE_HTTP_AT_HEADER:
        end_header_line(parser);
        break;
    case STAPLE_HTTP_AT_CHUNK_SIZE:
        end_chunk_size(parser);
        break;
    case STAPLE_HTTP_AT_CHUNK_END:
        end_chunk(parser);
        break;
    default:
        end_trailer_line(parser);
        break;
    }
    parser->line_len = 0;
}

/* What does not even begin like HTTP is told at once, not at its first LF. */
static int may_be_http(const staple_http_parser_t *parser)
{
    apr_size_t len = parser->line_len < 7 ? parser->line_len : 7;

    return parser->state != STAPLE_HTTP_AT_STATUS
           || !memcmp(parser->line, "HTTP/1.", len);
}

static apr_size_t least(apr_size_t a, apr_size_t b)
{
    return a < b ? a : b;
}

/*
 * Collect bytes of a line, at most up to its end; how many were taken. A
 * limit fails at the first byte that does not fit, however the bytes were cut.
 */
static apr_size_t take_line(staple_http_parser_t *parser, const char *bytes,
                            apr_size_t len)
{
    const char *lf = memchr(bytes, '\n', len);
    apr_size_t wanted = lf ? (apr_size_t)(lf - bytes) : len;
    apr_size_t room = parser->limits.max_line + 1 - parser->line_len;
    apr_size_t left = is_chunk_framing(parser) ? APR_SIZE_MAX
                    : parser->limits.max_header_bytes - parser->header_bytes;
    apr_size_t taken = least(wanted, least(room, left));

    memcpy(parser->line + parser->line_len, bytes, taken);
    parser->line_len += taken;
    if (!is_chunk_framing(parser)) {
        parser->header_bytes += taken;
    }
    if (!may_be_http(parser)) {
        fail(parser, STAPLE_HTTP_NOT_HTTP);
        return taken;
    }
    if (taken < wanted && taken == room) {
        fail(parser, STAPLE_HTTP_LINE_TOO_LONG);
        return taken;
    }
    if (taken < wanted || (lf && taken == left)) {
        fail(parser, STAPLE_HTTP_HEAD_TOO_LARGE);
        return taken;
    }
    if (!lf) {
        return taken;
    }
    if (!is_chunk_framing(parser)) {
        parser->header_bytes++;
    }
    end_line(parser);
    return taken + 1;
}

/* Space grows with what has come, never with what was announced. */
static void append(staple_http_parser_t *parser, const char *bytes,
                   apr_size_t len)
{
    staple_http_response_t *response = &parser->response;
    apr_size_t needed = response->body_len + len;

    if (needed > parser->body_size) {
        apr_size_t size = parser->body_size ? parser->body_size : BODY_STEP;
        unsigned char *body;

        while (size < needed) {
            size *= 2;
        }
        body = apr_palloc(parser->pool, size);
        if (response->body_len) {
            memcpy(body, parser->body, response->body_len);
        }
        parser->body = body;
        parser->body_size = size;
    }
    memcpy(parser->body + response->body_len, bytes, len);
    response->body = parser->body;
    response->body_len = needed;
}

static apr_size_t take_body(staple_http_parser_t *parser, const char *bytes,
                            apr_size_t len)
{
    if (parser->state == STAPLE_HTTP_AT_REST) {
        if (len > parser->limits.max_body - parser->response.body_len) {
            fail(parser, STAPLE_HTTP_BODY_TOO_LARGE);
            return 0;
        }
        append(parser, bytes, len);
        return len;
    }
    if (len > parser->wanted) {
        len = (apr_size_t)parser->wanted;
    }
    append(parser, bytes, len);
    parser->wanted -= len;
    if (!parser->wanted) {
        parser->state = parser->state == STAPLE_HTTP_AT_BODY
                      ? STAPLE_HTTP_AT_END : STAPLE_HTTP_AT_CHUNK_END;
    }
    return len;
}

staple_http_state_e staple_http_feed(staple_http_parser_t *parser,
                                     const void *bytes, apr_size_t len,
                                     apr_size_t *used)
{
    const char *from = bytes;

    *used = 0;
    while (*used < len) {
        switch (parser->state) {
        case STAPLE_HTTP_AT_END:
            parser->response.is_reusable = 0; /* more than was asked for */
            return parser->state;
        case STAPLE_HTTP_AT_FAULT:
            return parser->state;
        case STAPLE_HTTP_AT_BODY:
        case STAPLE_HTTP_AT_CHUNK:
        case STAPLE_HTTP_AT_REST:
            *used += take_body(parser, from + *used, len - *used);
            break;
        default:
            *used += take_line(parser, from + *used, len - *used);
            break;
        }
    }
    return parser->state;
}

staple_http_state_e staple_http_close(staple_http_parser_t *parser)
{
    if (parser->state == STAPLE_HTTP_AT_REST) {
        parser->state = STAPLE_HTTP_AT_END;
    }
    else if (parser->state == STAPLE_HTTP_AT_STATUS && !parser->header_bytes) {
        fail(parser, STAPLE_HTTP_NO_ANSWER);
    }
    else if (parser->state < STAPLE_HTTP_AT_END) {
        fail(parser, STAPLE_HTTP_TRUNCATED);
    }
    return parser->state;
}

int staple_http_has_head(const staple_http_parser_t *parser)
{
    return parser->has_head;
}

staple_http_fault_e staple_http_fault(const staple_http_parser_t *parser)
{
    return parser->fault;
}

const staple_http_response_t *staple_http_response(
    const staple_http_parser_t *parser)
{
    return &parser->response;
}

apr_interval_time_t staple_http_retry_after(
    const staple_http_response_t *response, apr_time_t now)
{
    if (response->retry_seconds >= 0) {
        return apr_time_from_sec(response->retry_seconds);
    }
    if (!response->retry_at) {
        return -1;
    }
    return response->retry_at > now ? response->retry_at - now : 0;
}

apr_interval_time_t staple_http_fresh_for(
    const staple_http_response_t *response, apr_time_t now)
{
    apr_time_t date = response->date ? response->date : now;
    apr_interval_time_t lifetime;
    apr_interval_time_t age = 0;

    if (response->is_uncacheable) {
        return 0;
    }
    if (response->max_age >= 0) {
        lifetime = apr_time_from_sec(response->max_age);
    }
    else if (response->has_expires) {
        lifetime = response->expires - date;
    }
    else {
        return -1;
    }
    if (response->age > 0) {
        age = apr_time_from_sec(response->age);
    }
    if (now - date > age) {
        age = now - date;
    }
    return lifetime > age ? lifetime - age : 0;
}
