/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The status as lines: ?auto for scripts that read mod_status' ?auto already,
 * and the section on mod_status' page.
 */

#include "status_int.h"

#include <mod_status.h>
#include <apr_lib.h>
#include <apr_strings.h>

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

static const char *value_text(const number_t *number, const void *numbers,
                              apr_pool_t *p)
{
    apr_int64_t value = number_of(number, numbers);
    const char *time;

    if (number->unit == UNIT_SPAN && value >= 0) {
        return apr_psprintf(p, "%" APR_INT64_T_FMT ".%03d",
                            apr_time_sec(value), (int)apr_time_msec(value));
    }
    if (number->unit == UNIT_SPAN) {
        return "-";
    }
    if (number->unit != UNIT_TIME) {
        return apr_psprintf(p, "%" APR_INT64_T_FMT, value);
    }
    time = staple_words_iso_text(value, p);
    return time ? time : "-";
}

static void put_auto_numbers(request_rec *r, const char *scope,
                             const number_t *number, const void *numbers)
{
    for (; number->name; number++) {
        ap_rprintf(r, "%s: %s\n", camel(scope, number->name, r->pool),
                   value_text(number, numbers, r->pool));
    }
}

static void put_auto_sums(request_rec *r, const moment_t *moment)
{
    int i;

    put_auto_numbers(r, "", staple_status_server_numbers, &moment->numbers);
    if (moment->share) {
        put_auto_numbers(r, "Share", staple_status_share_numbers,
                         &moment->share_numbers);
    }
    for (i = 0; i < VERDICTS; i++) {
        ap_rprintf(r, "StapleVerdict[%s]: %d\n",
                   staple_status_verdict_name((verdict_e)i),
                   moment->verdicts[i]);
    }
}

/* One line, verdict first, tabs between: for grep, cut and awk. */
static void put_auto_cert(request_rec *r, const view_t *view, apr_pool_t *p)
{
    const number_t *number = staple_status_cert_numbers;

    ap_rprintf(r, "StapleCertificate: %s\t%s\tid=%s\tserial=%s\thosts=%s",
               staple_status_verdict_name(view->verdict), view->cert->name,
               staple_status_id_text(view->cert, p), view->cert->serial,
               apr_array_pstrcat(p, view->cert->hosts, ','));
    for (; number->name; number++) {
        ap_rprintf(r, "\t%s=%s", number->name,
                   value_text(number, &view->numbers, p));
    }
    ap_rprintf(r, "\tpeer=%s\turl=%s\tcause=%s\n", view->peer,
               view->url ? view->url : "", view->cause);
}

static void put_auto_responder(request_rec *r, const responder_t *responder,
                               apr_pool_t *p)
{
    const number_t *number = staple_status_responder_numbers;

    ap_rprintf(r, "StapleResponder: %s", responder->url);
    for (; number->name; number++) {
        ap_rprintf(r, "\t%s=%s", number->name,
                   value_text(number, &responder->numbers, p));
    }
    ap_rprintf(r, "\tpeer=%s\toutcome=%s\n",
               staple_words_peer_text(&responder->latest, p),
               staple_status_responder_text(responder, p));
}

void staple_status_put_auto(request_rec *r, const moment_t *moment)
{
    apr_pool_t *p;
    view_t view;
    int i;

    ap_rputs("StapleVersion: " STAPLE_VERSION "\n", r);
    put_auto_sums(r, moment);
    apr_pool_create(&p, r->pool);
    for (i = 0; i < moment->responders->nelts; i++) {
        put_auto_responder(r, &APR_ARRAY_IDX(moment->responders, i,
                                             responder_t), p);
        apr_pool_clear(p);
    }
    for (i = 0; i < moment->rows_count; i++) {
        staple_status_look(moment, moment->rows[i].cert, &view, p);
        put_auto_cert(r, &view, p);
        apr_pool_clear(p);
    }
    apr_pool_destroy(p);
}

/* ----- mod_status' page ----- */

#define SECTION_ROWS 20

static void put_section_row(request_rec *r, const view_t *view, apr_pool_t *p)
{
    ap_rvputs(r, "<dt>", ap_escape_html(p, view->cert->name), ": ",
              staple_status_verdict_text(view->verdict), "</dt>\n<dd>",
              ap_escape_html(p, view->cause), "</dd>\n", NULL);
}

static void put_section_html(request_rec *r, const moment_t *moment)
{
    const number_t *number = staple_status_server_numbers;
    int shown = moment->rows_count < SECTION_ROWS ? moment->rows_count
                                                  : SECTION_ROWS;
    view_t view;
    int i;

    ap_rvputs(r, "<hr />\n<h2>OCSP stapling (mod_staple/" STAPLE_VERSION
              ")</h2>\n<p>", staple_status_summary(moment, r->pool),
              "</p>\n<dl>\n", NULL);
    for (i = 0; i < shown; i++) {
        staple_status_look(moment, moment->rows[i].cert, &view, r->pool);
        put_section_row(r, &view, r->pool);
    }
    for (; number->name; number++) {
        ap_rvputs(r, "<dt>", number->label, ": ",
                  value_text(number, &moment->numbers, r->pool), "</dt>\n",
                  NULL);
    }
    if (moment->share) {
        ap_rvputs(r, "<dt>Share: ",
                  ap_escape_html(r->pool, staple_status_share_text(moment,
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
    query.only_attention = 1;
    moment = staple_status_gather(conf, &query, r->pool);
    if (flags & AP_STATUS_SHORT) {
        put_auto_sums(r, moment);
    }
    else {
        put_section_html(r, moment);
    }
    return OK;
}
