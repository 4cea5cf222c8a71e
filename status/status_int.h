/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_STATUS_INT_H
#define STAPLE_STATUS_INT_H

/*
 * What the files of the status page have in common and nobody else sees:
 *
 *   staple_status.c    what is asked: methods, headers, which view
 *   status/query.c     what a query may have
 *   status/actions.c   what a POST may do
 *   status/view.c      everything at one moment, out of registry and ring
 *   status/html.c      and the views: the page,
 *   status/trouble.c   the part of it that says what is wrong,
 *   status/cert.c      the page of one certificate,
 *   status/metrics.c   ?metrics,
 *   status/lines.c     ?auto and mod_status' page;
 *   status/place.c     where the page is, for the latter's link;
 *   status/style.c     the style sheet and the policy that lets it pass
 *
 * What there is to say of a certificate, and its JSON, is staple_report.h's.
 * Everything belongs to one request and its pool, unless a row's pool `p_row`
 * is named, which is cleared after each row: a page of 10,000 certificates
 * takes no more memory than one of ten.
 */

#include <httpd.h>
#include <http_protocol.h>

#include "staple_report.h"
#include "staple_status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    SHOW_HTML,
    SHOW_JSON,
    SHOW_METRICS,
    SHOW_AUTO,
    SHOW_DER,
    SHOW_TOKEN
} show_e;

/** What is asked. */
typedef struct query_t {
    show_e show;
    const char *words;  /* q: only certificates in which it occurs; "": all */
    int only_attention; /* show=attention */
    staple_state_e state; /* state: only these; STAPLE_STATES: all */
    int has_detail;     /* detail: metrics of each certificate */
    int page;           /* from 1 */
    const char *id;     /* id or der: a certificate's; NULL */
    const char *serial; /* serial; NULL */
    const char *ask;    /* the action to ask about; NULL */
    const char *done;   /* the action that led here; NULL */
} query_t;

/** A certificate's place in the order of urgency. */
typedef struct row_t {
    const staple_cert_t *cert;
    staple_state_e state;
    apr_time_t until;
    int number; /* in order of configuration */
} row_t;

/** How everything stands at one moment. */
typedef struct moment_t {
    const staple_status_conf_t *conf;
    staple_report_t report;
    row_t *rows;        /* those that the query lets pass */
    int rows_count;
    unsigned char *buf; /* STAPLE_CACHE_DER_MAX bytes */
} moment_t;

/* ----- status/query.c ----- */

/** Read the query of a request.
 * @return NULL, or what is wrong with it */
const char *staple_status_read_query(request_rec *r, query_t *query);

/** What there is to ask, a line each. */
const char *staple_status_queries(apr_pool_t *p);

/** The query that asks for the same on another page, in another state, or for
 * all; "?q=..." with what HTML needs escaped. */
const char *staple_status_link(const query_t *query, staple_state_e state,
                               int only_attention, int page, apr_pool_t *p);

/* ----- status/view.c ----- */

/** A moment at which nothing was read yet. */
moment_t *staple_status_open(request_rec *r, const staple_status_conf_t *conf);

/** Read everything; the query's filters say which rows there are. */
moment_t *staple_status_gather(request_rec *r,
                               const staple_status_conf_t *conf,
                               const query_t *query);

/** A certificate's state and numbers, without words. The view's der lies in
 * the moment's buffer, until the next certificate is read. */
void staple_status_read(const moment_t *moment, const staple_cert_t *cert,
                        staple_view_t *view);

/** The same with words. */
void staple_status_describe(const moment_t *moment, const staple_cert_t *cert,
                            staple_view_t *view, apr_pool_t *p_row);

/** The certificate of an id, hexadecimal with colons or without; or NULL. */
const staple_cert_t *staple_status_find(const staple_status_conf_t *conf,
                                        const char *id);

/** A certificate's id in hexadecimal. */
const char *staple_status_id_text(const staple_cert_t *cert, apr_pool_t *p);

/* ----- status/actions.c ----- */

/** Answer a POST. */
int staple_status_act(request_rec *r, const staple_status_conf_t *conf);

/* ----- staple_status.c ----- */

/** Headers that each answer has. */
void staple_status_set_headers(request_rec *r, const char *type);

/** An answer that is words, as plain text. */
int staple_status_answer(request_rec *r, int status, const char *text);

/** The answer where nothing may be asked for or dropped. */
int staple_status_no_actions(request_rec *r);

/** The answer where an id is no certificate's. */
int staple_status_no_such_certificate(request_rec *r);

/* ----- the views: each writes its body ----- */

void staple_status_put_html(request_rec *r, const moment_t *moment,
                            const query_t *query);
void staple_status_put_cert(request_rec *r, const moment_t *moment,
                            const staple_cert_t *cert, const query_t *query);
/** @param is_open OpenMetrics; else the text format of Prometheus */
void staple_status_put_metrics(request_rec *r, const moment_t *moment,
                               const query_t *query, int is_open);
void staple_status_put_auto(request_rec *r, const moment_t *moment);

/* ----- pieces of HTML ----- */

/** The head of a page up to <main>, and its end. */
void staple_status_put_head(request_rec *r, const char *title);
void staple_status_put_foot(request_rec *r, const moment_t *moment);

/** A moment as people like it, the exact one on hovering. */
void staple_status_put_time(request_rec *r, apr_time_t t, apr_time_t now,
                            apr_pool_t *p);

/** A state as a coloured tag. */
void staple_status_put_tag(request_rec *r, staple_state_e state);

/** The class of a severity in the style sheet: "good", "warn" or "bad". */
const char *staple_status_colour(staple_severity_e severity);

/** The same of a state; "none" for what OCSP does not apply to. */
const char *staple_status_state_colour(staple_state_e state);

/** What is wrong, by cause; nothing where all is well. */
void staple_status_put_trouble(request_rec *r, const moment_t *moment,
                               const query_t *query);

/** The page's style sheet. */
extern const char staple_status_style[];

/** The Content-Security-Policy that lets the page's own style pass. */
const char *staple_status_policy(apr_pool_t *p);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_STATUS_INT_H */
