/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_HTTP_H
#define STAPLE_HTTP_H

/*
 * HTTP as values: a URL taken apart (include/staple_url.h), the bytes of a
 * request, and a parser that is fed the bytes of a response as they arrive.
 * Pure: no socket, no clock, no log. Where a moment matters it is a parameter.
 *
 * Everything here is hostile input: URLs come out of certificates that
 * customers upload, responses from whoever answers there. Nothing is repaired
 * that RFC 3986 and RFC 9112 do not tell a recipient to repair, everything has
 * a limit, and no byte of a peer leaves this room unchecked.
 *
 * Any thread may call any function; a parser belongs to one thread at a time.
 */

#include <apr_pools.h>
#include <apr_time.h>

#include "staple_url.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What goes into a request besides the URL. */
typedef struct staple_http_ask_t {
    const unsigned char *body;     /* NULL: GET; else POST of an OCSPRequest */
    apr_size_t body_len;
    const char *user_agent;        /* NULL: none */
    const char *accept;            /* NULL: an OCSP response */
    const char *if_none_match;     /* an entity tag; NULL: none */
    const char *if_modified_since; /* an HTTP date; NULL: none */
    int is_past_caches;            /* whether caches on the way are told to
                                      pass it on (RFC 9111 5.2.1.4) */
    int is_proxied;                /* whether to use the absolute form */
    const char *proxy_credentials; /* where it is: for Proxy-Authorization, of
                                      the scheme Basic (RFC 7617); NULL: none */
} staple_http_ask_t;

/**
 * The bytes of a request (RFC 9112 3), HTTP/1.1 with a connection that is to
 * be kept.
 * @return the bytes, allocated from p; their number in *len
 */
const char *staple_http_request(const staple_url_t *url,
                                const staple_http_ask_t *ask,
                                apr_size_t *len, apr_pool_t *p);

/** What a response may cost; nothing in it is ever unlimited. */
typedef struct staple_http_limits_t {
    apr_size_t max_line;         /* bytes of one line, without its end; of a
                                    folded one as a whole */
    apr_size_t max_header_bytes; /* bytes of all lines: interim responses,
                                    chunk extensions and trailers included */
    int max_headers;             /* header and trailer lines, likewise */
    apr_size_t max_body;         /* bytes of the body, decoded */
} staple_http_limits_t;

/** Sensible limits: 8 KiB a line, 32 KiB and 100 headers. */
staple_http_limits_t staple_http_limits(apr_size_t max_body);

/** Where a parser stands, in order of a response's life. */
typedef enum {
    STAPLE_HTTP_AT_STATUS,     /* in the status line */
    STAPLE_HTTP_AT_HEADER,     /* in a header line, or the empty one */
    STAPLE_HTTP_AT_BODY,       /* in a body of announced length */
    STAPLE_HTTP_AT_CHUNK_SIZE, /* in the line before a chunk */
    STAPLE_HTTP_AT_CHUNK,      /* in the bytes of a chunk */
    STAPLE_HTTP_AT_CHUNK_END,  /* in the line end behind a chunk */
    STAPLE_HTTP_AT_TRAILER,    /* in a trailer line, or the empty one */
    STAPLE_HTTP_AT_REST,       /* in a body that ends with the connection */
    STAPLE_HTTP_AT_END,        /* the response is whole */
    STAPLE_HTTP_AT_FAULT       /* it is none, see staple_http_fault */
} staple_http_state_e;

/** A state as words, "status line". */
const char *staple_http_state_text(staple_http_state_e state);

/** Why the bytes are not a response. */
typedef enum {
    STAPLE_HTTP_OK = 0,
    STAPLE_HTTP_NO_ANSWER,        /* closed before the first byte */
    STAPLE_HTTP_TRUNCATED,        /* closed before the announced end */
    STAPLE_HTTP_BODY_TOO_LARGE,   /* more than max_body */
    STAPLE_HTTP_NOT_HTTP,         /* does not begin with HTTP/1.x */
    STAPLE_HTTP_BAD_STATUS,       /* a status code that is none */
    STAPLE_HTTP_BAD_UPGRADE,      /* 101, which nobody asked for */
    STAPLE_HTTP_LINE_TOO_LONG,    /* more than max_line */
    STAPLE_HTTP_HEAD_TOO_LARGE,   /* more than max_header_bytes */
    STAPLE_HTTP_TOO_MANY_HEADERS, /* more than max_headers */
    STAPLE_HTTP_BAD_BYTE,         /* a control character in a line */
    STAPLE_HTTP_BAD_HEADER,       /* a line that is no header field */
    STAPLE_HTTP_BLANK_FIRST,      /* a first header line that begins with a
                                     blank, so continues nothing */
    STAPLE_HTTP_BAD_LENGTH,       /* a Content-Length that is no number */
    STAPLE_HTTP_TWO_LENGTHS,      /* lengths that contradict each other */
    STAPLE_HTTP_BAD_CODING,       /* a Transfer-Encoding other than chunked */
    STAPLE_HTTP_BAD_CHUNK         /* chunks that are not framed as such */
} staple_http_fault_e;

/** A fault as words that finish "the answer ...", for an administrator. */
const char *staple_http_fault_text(staple_http_fault_e fault);

/**
 * A response as far as it was read. Strings are NULL where the field was
 * missing or not worth believing; they are printable ASCII. Numbers of seconds
 * are -1 where missing, and never more than 2^31 - 1; moments are 0.
 */
typedef struct staple_http_response_t {
    int status;                /* 100 to 599; 0: not read yet */
    int minor;                 /* of HTTP/1.minor */
    int is_typed;              /* Content-Type: application/ocsp-response */
    int is_reusable;           /* whether the connection may be used again */
    const unsigned char *body; /* NULL: none */
    apr_size_t body_len;
    const char *location;      /* a reference, unparsed */
    const char *etag;          /* with its quotes (RFC 9110 8.8.3) */
    const char *last_modified; /* an HTTP date (IMF-fixdate) */
    apr_int64_t retry_seconds; /* of Retry-After's first form */
    apr_time_t retry_at;       /* of its second */
    apr_int64_t max_age;       /* of Cache-Control, seconds */
    int is_uncacheable;        /* Cache-Control: no-store or no-cache */
    apr_time_t expires;        /* 0 also for a date that is none */
    int has_expires;
    apr_time_t date;
    apr_int64_t age;           /* seconds */
} staple_http_response_t;

typedef struct staple_http_parser_t staple_http_parser_t;

/**
 * @param limits copied
 * @param p holds the parser, the body and the response's strings
 */
staple_http_parser_t *staple_http_parser_create(
    const staple_http_limits_t *limits, apr_pool_t *p);

/**
 * Feed the next bytes of a connection. Interim (1xx) responses are skipped, a
 * header line that is folded counts as one line (RFC 9112 5.2).
 * @param used how many bytes belong to the response; fewer than len only when
 *        it is at its end or fault, and then the rest was never asked for and
 *        the connection is not to be used again
 * @return the state; AT_END and AT_FAULT are final, otherwise more is wanted
 */
staple_http_state_e staple_http_feed(staple_http_parser_t *parser,
                                     const void *bytes, apr_size_t len,
                                     apr_size_t *used);

/**
 * The peer has closed the connection in order (a reset is not that, and is the
 * caller's to report). Ends a body of unannounced length; anything else that
 * is not at its end is a fault.
 * @return AT_END or AT_FAULT
 */
staple_http_state_e staple_http_close(staple_http_parser_t *parser);

/**
 * A body that ends with the connection (AT_REST) is known to end sooner: after
 * so many of its bytes. Those behind it are dropped, however many have come,
 * and the connection is not to be used again.
 * @param len at most as many as there are
 * @return AT_END; where the state is another one than AT_REST, just that
 */
staple_http_state_e staple_http_cut(staple_http_parser_t *parser,
                                    apr_size_t len);

/** Whether status and headers are complete. */
int staple_http_has_head(const staple_http_parser_t *parser);

/** The fault; OK unless the state is AT_FAULT. */
staple_http_fault_e staple_http_fault(const staple_http_parser_t *parser);

/** What was read; lives as long as the parser, and changes while it is fed. */
const staple_http_response_t *staple_http_response(
    const staple_http_parser_t *parser);

/** Retry-After (RFC 9110 10.2.3) as a span from now; -1: none. */
apr_interval_time_t staple_http_retry_after(
    const staple_http_response_t *response, apr_time_t now);

/**
 * How much longer the response is fresh (RFC 9111 4.2) at now, the moment at
 * which it was received: max-age, else Expires less Date, less the greater of
 * Age and the time since Date; 0: not at all; -1: nothing is said.
 */
apr_interval_time_t staple_http_fresh_for(
    const staple_http_response_t *response, apr_time_t now);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_HTTP_H */
