/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The status as lines: ?auto for scripts that read mod_status' ?auto already,
 * and the section on mod_status' page.
 */

#include "status_int.h"

#include <http_request.h>
#include <mod_status.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include "staple_words.h"

/* ----- auto ----- */

/* "ring_live" becomes "StapleRingLive".
 * @param scope what stands before it: "Share", or "" */
static const char *camel(const char *scope, const char *name, apr_pool_t *p)
{
    char *text = apr_palloc(p, strlen(name) + 1), *to = text;
    int is_start = 1;

    for (; *name; name++) {
        if (*name == '_') {
            is_start = 1;
            continue;
        }
        *to++ = (char)(is_start ? apr_toupper(*name) : *name);
        is_start = 0;
    }
    *to = '\0';
    return apr_pstrcat(p, "Staple", scope, text, NULL);
}

static const char *value_text(const staple_number_t *number,
                              const void *numbers, apr_pool_t *p)
{
    apr_int64_t value = staple_number_of(number, numbers);

    if (number->unit == STAPLE_UNIT_SPAN && value >= 0) {
        return apr_psprintf(p, "%" APR_INT64_T_FMT ".%03d",
                            apr_time_sec(value), (int)apr_time_msec(value));
    }
    if (number->unit == STAPLE_UNIT_SPAN) {
        return "-";
    }
    if (number->unit != STAPLE_UNIT_TIME) {
        return apr_psprintf(p, "%" APR_INT64_T_FMT, value);
    }
    return value ? staple_words_iso_text(value, p) : "-";
}

static void put_auto_numbers(request_rec *r, const char *scope,
                             const staple_number_t *number, const void *numbers)
{
    for (; number->name; number++) {
        ap_rprintf(r, "%s: %s\n", camel(scope, number->name, r->pool),
                   value_text(number, numbers, r->pool));
    }
}

static void put_auto_sums(request_rec *r, const moment_t *moment)
{
    const staple_report_t *report = &moment->report;
    int i;

    put_auto_numbers(r, "", staple_report_server_numbers, &report->numbers);
    if (report->has_refresher) {
        put_auto_numbers(r, "Refresher", staple_report_refresher_numbers,
                         &report->refresher);
    }
    if (report->share) {
        put_auto_numbers(r, "Share", staple_report_share_numbers,
                         &report->share_numbers);
    }
    for (i = 0; i < STAPLE_STATES; i++) {
        ap_rprintf(r, "StapleState[%s]: %d\n",
                   staple_state_name((staple_state_e)i), report->states[i]);
    }
    for (i = 0; i < STAPLE_CACHE_FAILURES; i++) {
        if (report->failures[i] && staple_state_failure_name((unsigned int)i)) {
            ap_rprintf(r, "StapleFailures[%s]: %" APR_INT64_T_FMT "\n",
                       staple_state_failure_name((unsigned int)i),
                       report->failures[i]);
        }
    }
}

/* One line, state first, tabs between: for grep, cut and awk. */
static void put_auto_cert(request_rec *r, const staple_view_t *view,
                          apr_pool_t *p)
{
    const staple_number_t *number = staple_report_cert_numbers;

    ap_rprintf(r, "StapleCertificate: %s\t%s\tid=%s\tserial=%s\thosts=%s",
               staple_state_name(view->state), view->cert->name,
               staple_status_id_text(view->cert, p), view->cert->serial,
               apr_array_pstrcat(p, view->cert->hosts, ','));
    for (; number->name; number++) {
        ap_rprintf(r, "\t%s=%s", number->name,
                   value_text(number, &view->numbers, p));
    }
    ap_rprintf(r, "\tpeer=%s\turl=%s\tcause=%s\n", view->peer,
               view->url ? view->url : "", view->cause);
}

static void put_auto_responder(request_rec *r,
                               const staple_responder_t *responder,
                               apr_pool_t *p)
{
    const staple_number_t *number = staple_report_responder_numbers;

    ap_rprintf(r, "StapleResponder: %s", responder->url);
    for (; number->name; number++) {
        ap_rprintf(r, "\t%s=%s", number->name,
                   value_text(number, &responder->numbers, p));
    }
    ap_rprintf(r, "\tpeer=%s\toutcome=%s\n",
               staple_words_peer_text(&responder->latest, p),
               staple_report_responder_text(responder, p));
}

void staple_status_put_auto(request_rec *r, const moment_t *moment)
{
    const apr_array_header_t *responders = moment->report.responders;
    apr_pool_t *p;
    staple_view_t view;
    int i;

    ap_rputs("StapleVersion: " STAPLE_VERSION "\n", r);
    put_auto_sums(r, moment);
    apr_pool_create(&p, r->pool);
    for (i = 0; i < responders->nelts; i++) {
        put_auto_responder(r, &APR_ARRAY_IDX(responders, i,
                                             staple_responder_t), p);
        apr_pool_clear(p);
    }
    for (i = 0; i < moment->rows_count; i++) {
        staple_status_describe(moment, moment->rows[i].cert, &view, p);
        put_auto_cert(r, &view, p);
        apr_pool_clear(p);
    }
    apr_pool_destroy(p);
}

/* ----- mod_status' page ----- */

/* More are on the page of its own. */
#define SECTION_ROWS 20

/* Places of the page that are tried. */
#define PLACES_MAX 8

static void put_section_row(request_rec *r, const staple_view_t *view,
                            apr_pool_t *p)
{
    ap_rvputs(r, "<dt>", ap_escape_html(p, view->cert->name), ": ",
              staple_state_text(view->state), "</dt>\n<dd>",
              ap_escape_html(p, view->cause), "</dd>\n", NULL);
}

static int is_at(const char *path, request_rec *r)
{
    request_rec *sub = ap_sub_req_lookup_uri(path, r, NULL);
    int is_there = sub->handler
                   && !strcmp(sub->handler, STAPLE_STATUS_HANDLER);

    ap_destroy_sub_req(sub);
    return is_there;
}

/* The page of its own, as this virtual host has it; NULL: it has none, or
 * where nobody can tell. */
static const char *find_page(request_rec *r, const moment_t *moment)
{
    const apr_array_header_t *places = moment->conf->places;
    int i;

    for (i = 0; places && i < places->nelts && i < PLACES_MAX; i++) {
        if (is_at(APR_ARRAY_IDX(places, i, const char *), r)) {
            return APR_ARRAY_IDX(places, i, const char *);
        }
    }
    return NULL;
}

static void put_link(request_rec *r, const char *page)
{
    if (page) {
        ap_rvputs(r, "<p><a href=\"", ap_escape_html(r->pool, page),
                  "\">The page of mod_staple</a></p>\n", NULL);
    }
    else {
        ap_rputs("<p>SetHandler staple-status in a &lt;Location&gt; makes a "
                 "page with more.</p>\n", r);
    }
}

static void put_section_rows(request_rec *r, const moment_t *moment)
{
    int shown = moment->rows_count < SECTION_ROWS ? moment->rows_count
                                                  : SECTION_ROWS;
    staple_view_t view;
    int i;

    ap_rputs("<dl>\n", r);
    for (i = 0; i < shown; i++) {
        staple_status_describe(moment, moment->rows[i].cert, &view, r->pool);
        put_section_row(r, &view, r->pool);
    }
    ap_rputs("</dl>\n", r);
    if (shown < moment->rows_count) {
        ap_rprintf(r, "<p>Cut here: these are the most urgent %d of %d that "
                   "need attention; the page of mod_staple has all.</p>\n",
                   shown, moment->rows_count);
    }
    put_link(r, find_page(r, moment));
}

static void put_section_html(request_rec *r, const moment_t *moment)
{
    const staple_number_t *number = staple_report_server_numbers;
    const staple_report_t *report = &moment->report;

    ap_rvputs(r, "<hr />\n<h2>OCSP stapling (mod_staple/" STAPLE_VERSION
              ")</h2>\n<p>", staple_report_summary(report, r->pool), " ",
              staple_report_since_text(report, r->pool), "</p>\n", NULL);
    put_section_rows(r, moment);
    ap_rputs("<dl>\n", r);
    for (; number->name; number++) {
        if (number->label) {
            ap_rvputs(r, "<dt>", number->label, ": ",
                      value_text(number, &report->numbers, r->pool),
                      "</dt>\n", NULL);
        }
    }
    if (report->share) {
        ap_rvputs(r, "<dt>Share: ",
                  ap_escape_html(r->pool, staple_report_share_text(report,
                                                                   r->pool)),
                  "</dt>\n", NULL);
    }
    ap_rputs("</dl>\n", r);
}

int staple_status_section(request_rec *r, int flags,
                          const staple_status_conf_t *conf)
{
    query_t query;
    const moment_t *moment;

    memset(&query, 0, sizeof(query));
    query.words = "";
    query.state = STAPLE_STATES;
    query.only_attention = 1;
    moment = staple_status_gather(r, conf, &query);
    if (flags & AP_STATUS_SHORT) {
        put_auto_sums(r, moment);
    }
    else {
        put_section_html(r, moment);
    }
    return OK;
}
