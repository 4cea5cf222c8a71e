/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The page of one certificate: what it is, how it fares, and the response that
 * is held with everything in it. The forms for the actions stand here and
 * nowhere else, with the token that proves where they come from.
 */

#include "status_int.h"

#include <apr_strings.h>

static void put_line(request_rec *r, const char *name, const char *value)
{
    ap_rvputs(r, "<dl><dt>", ap_escape_html(r->pool, name), "</dt><dd>",
              ap_escape_html(r->pool, value), "</dd></dl>\n", NULL);
}

/* "2026-01-31 12:00:00 UTC (in 3 d 4 h)" */
static void put_moment(request_rec *r, const char *name, apr_time_t t,
                       apr_time_t now)
{
    const char *exact = staple_words_time_text(t, r->pool);

    put_line(r, name, exact
             ? apr_pstrcat(r->pool, exact, " (",
                           staple_status_distance(t, now, r->pool), ")", NULL)
             : "never");
}

static void put_all(request_rec *r, const char *name,
                    const apr_array_header_t *texts)
{
    put_line(r, name, texts->nelts ? apr_array_pstrcat(r->pool, texts, ' ')
                                   : "none");
}

static void put_form(request_rec *r, const moment_t *moment,
                     const staple_cert_t *cert, const char *action,
                     const char *text)
{
    ap_rvputs(r, "<form method=\"post\"><input type=\"hidden\" "
              "name=\"token\" value=\"", moment->conf->token, "\"><input "
              "type=\"hidden\" name=\"id\" value=\"",
              staple_status_id_text(cert, r->pool),
              "\"><button name=\"action\" value=\"", action, "\">", text,
              "</button></form>\n", NULL);
}

static void put_actions(request_rec *r, const moment_t *moment,
                        const view_t *view)
{
    const staple_status_conf_t *conf = moment->conf;

    if (view->der) {
        ap_rvputs(r, "<p><a href=\"?der=",
                  staple_status_id_text(view->cert, r->pool),
                  "\">Download the response (DER)</a></p>\n", NULL);
    }
    if (!conf->may_act || !conf->token || view->cert->slot < 0) {
        return;
    }
    ap_rputs("<div class=\"chips\">\n", r);
    put_form(r, moment, view->cert, "refresh", "Refresh now");
    if (view->der) {
        put_form(r, moment, view->cert, "forget", "Forget the response");
    }
    ap_rputs("</div>\n", r);
}

static void put_done(request_rec *r, const query_t *query)
{
    if (query->done) {
        ap_rvputs(r, "<p class=\"sum good\" role=\"status\">",
                  !strcmp(query->done, "forget")
                  ? "The response was dropped, and a new one is asked for."
                  : "A new response is asked for.",
                  " Load this page again in a moment.</p>\n", NULL);
    }
}

static void put_verdict(request_rec *r, const view_t *view)
{
    ap_rvputs(r, "<p class=\"sum ", staple_status_colour(view->verdict), "\">",
              staple_status_verdict_text(view->verdict),
              *view->cause ? ": " : "",
              ap_escape_html(r->pool, view->cause), "</p>\n", NULL);
    if (*view->fault) {
        ap_rvputs(r, "<p>Look at ", view->fault, ": ", view->advice,
                  ".</p>\n", NULL);
    }
}

static void put_numbers(request_rec *r, const view_t *view, apr_time_t now)
{
    const number_t *number = staple_status_cert_numbers;

    ap_rputs("<section class=\"card rows\"><h2>How it fares</h2>\n", r);
    for (; number->name; number++) {
        apr_int64_t value = number_of(number, &view->numbers);

        if (number->label && number->unit == UNIT_TIME) {
            put_moment(r, number->label, value, now);
        }
        else if (number->label && number->unit == UNIT_SPAN) {
            put_line(r, number->label,
                     staple_words_span_text(value, r->pool));
        }
        else if (number->label) {
            put_line(r, number->label,
                     apr_psprintf(r->pool, "%" APR_INT64_T_FMT, value));
        }
    }
    if (*view->outcome) {
        put_line(r, "Outcome of the last exchange", view->outcome);
        put_line(r, "With", *view->peer ? view->peer : "nobody");
        put_line(r, "Responder asked last", view->url ? view->url : "-");
    }
    ap_rputs("</section>\n", r);
}

static void put_identity(request_rec *r, const staple_cert_t *cert)
{
    ap_rputs("<section class=\"card rows\"><h2>The certificate</h2>\n", r);
    put_line(r, "Subject", cert->subject_dn);
    put_line(r, "Issuer", cert->issuer_dn);
    put_line(r, "Serial", cert->serial);
    put_line(r, "Key", cert->key_type);
    put_line(r, "Must-staple", cert->is_must_staple
             ? "yes: clients refuse it without a response" : "no");
    put_all(r, "Virtual hosts", cert->hosts);
    put_all(r, "Responders", cert->urls);
    if (cert->policy.response_files->nelts) {
        put_all(r, "Files", cert->policy.response_files);
    }
    if (cert->policy.proxy) {
        put_line(r, "Through", cert->policy.proxy_shown);
    }
    ap_rputs("</section>\n", r);
}

static void put_response(request_rec *r, const view_t *view)
{
    const apr_array_header_t *lines;
    int i;

    if (!view->der) {
        return;
    }
    lines = staple_status_dissect(view->der, view->der_len, r->pool);
    ap_rputs("<section class=\"card rows\">", r);
    for (i = 0; i < lines->nelts; i++) {
        const response_line_t *line = &APR_ARRAY_IDX(lines, i,
                                                     response_line_t);

        if (line->value) {
            put_line(r, line->name, line->value);
        }
        else {
            ap_rvputs(r, i ? "</section>\n<section class=\"card rows\">" : "",
                      "<h2>", line->name, "</h2>\n", NULL);
        }
    }
    ap_rputs("</section>\n", r);
}

void staple_status_put_cert(request_rec *r, const moment_t *moment,
                            const staple_cert_t *cert, const query_t *query)
{
    view_t view;

    staple_status_look(moment, cert, &view, r->pool);
    staple_status_put_head(r, apr_pstrcat(r->pool, cert->name,
                                          ", OCSP stapling", NULL));
    ap_rvputs(r, "<header><a href=\"?\">All certificates</a><h1>",
              ap_escape_html(r->pool, cert->name), "</h1></header>\n<main>\n",
              NULL);
    put_done(r, query);
    put_verdict(r, &view);
    put_actions(r, moment, &view);
    put_numbers(r, &view, moment->now);
    put_identity(r, cert);
    put_response(r, &view);
    staple_status_put_foot(r, moment);
}
