/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The page of one certificate: what it is, its status, and the response that
 * is held with everything in it. The forms for the actions stand here and
 * nowhere else, with the token that proves where they come from.
 */

#include "status_int.h"

#include <apr_strings.h>

#include "staple_idn.h"
#include "staple_words.h"

static void put_line(request_rec *r, const char *name, const char *value)
{
    ap_rvputs(r, "<dl><dt>", ap_escape_html(r->pool, name), "</dt><dd>",
              ap_escape_html(r->pool, value), "</dd></dl>\n", NULL);
}

/* "2026-01-31 12:00:00 UTC (in 3 d 4 h)", or "-" */
static void put_moment(request_rec *r, const char *name, apr_time_t t,
                       apr_time_t now)
{
    put_line(r, name, t
             ? apr_pstrcat(r->pool, staple_words_when_text(t, r->pool), " (",
                           staple_words_distance_text(t, now, r->pool), ")",
                           NULL)
             : "-");
}

static void put_all(request_rec *r, const char *name,
                    const apr_array_header_t *texts)
{
    put_line(r, name, texts->nelts ? apr_array_pstrcat(r->pool, texts, ' ')
                                   : "none");
}

/* One form, so one token, for all that may be done. */
static void put_form_start(request_rec *r, const moment_t *moment,
                           const staple_cert_t *cert)
{
    ap_rvputs(r, "<form method=\"post\"><input type=\"hidden\" "
              "name=\"token\" value=\"", moment->conf->token, "\"><input "
              "type=\"hidden\" name=\"id\" value=\"",
              staple_status_id_text(cert, r->pool), "\">", NULL);
}

static void put_actions(request_rec *r, const moment_t *moment,
                        const staple_view_t *view)
{
    const staple_status_conf_t *conf = moment->conf;
    const char *id = staple_status_id_text(view->cert, r->pool);

    if (view->der) {
        ap_rvputs(r, "<p><a href=\"?der=", id, "\">Download the response "
                  "(DER)</a></p>\n", NULL);
    }
    if (!conf->may_act || !conf->token || view->cert->slot < 0) {
        return;
    }
    put_form_start(r, moment, view->cert);
    ap_rputs("<button name=\"action\" value=\"refresh\">Refresh now</button>",
             r);
    if (view->der) {
        ap_rvputs(r, "<a class=\"button\" href=\"?id=", id, "&amp;ask=forget\">"
                  "Forget the response\xe2\x80\xa6</a>", NULL);
    }
    ap_rputs("</form>\n", r);
}

/* What forgetting would mean, before it is done. */
static void put_question(request_rec *r, const moment_t *moment,
                         const staple_view_t *view)
{
    int is_last_resort = view->cert->is_must_staple && view->is_stapled;

    ap_rvputs(r, "<p class=\"sum ", is_last_resort ? "bad" : "warn", "\">Drop "
              "the response that is held? Until a new one comes there is "
              "nothing to staple", is_last_resort
              ? ", and clients refuse the site: the certificate is must-staple"
              : "", ".</p>\n", NULL);
    put_form_start(r, moment, view->cert);
    if (is_last_resort) {
        ap_rputs("<label><input type=\"checkbox\" name=\"force\" "
                 "value=\"yes\"> Drop its last valid response all the "
                 "same</label>", r);
    }
    ap_rvputs(r, "<button name=\"action\" value=\"forget\">Forget the "
              "response</button><a class=\"button\" href=\"?id=",
              staple_status_id_text(view->cert, r->pool), "\">Keep it</a>"
              "</form>\n", NULL);
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

static void put_state(request_rec *r, const staple_view_t *view)
{
    ap_rvputs(r, "<p class=\"sum ", staple_status_state_colour(view->state),
              "\">", staple_state_text(view->state),
              *view->cause ? ": " : "",
              ap_escape_html(r->pool, view->cause), "</p>\n", NULL);
    if (*view->advice.who) {
        ap_rvputs(r, "<p>Look at ", view->advice.who, ": ",
                  ap_escape_html(r->pool, view->advice.remedy), ".</p>\n",
                  NULL);
    }
}

/* "http://ocsp.example.com/ (2 of 2)" */
static const char *asked_text(const staple_view_t *view, apr_pool_t *p)
{
    int count = view->cert->urls->nelts;

    if (!view->url) {
        return "-";
    }
    return count == 1
           ? view->url
           : apr_psprintf(p, "%s (%d of %d)", view->url,
                          staple_words_url_number(&view->exchange), count);
}

static void put_exchange(request_rec *r, const staple_view_t *view)
{
    if (!*view->outcome) {
        return;
    }
    put_line(r, "Outcome of the last exchange", view->outcome);
    put_line(r, "Address", *view->peer ? view->peer : "none");
    put_line(r, "Responder asked last", asked_text(view, r->pool));
}

static void put_numbers(request_rec *r, const staple_view_t *view,
                        apr_time_t now)
{
    const staple_number_t *number = staple_report_cert_numbers;

    ap_rputs("<section class=\"card rows\"><h2>Status</h2>\n", r);
    for (; number->name; number++) {
        apr_int64_t value = staple_number_of(number, &view->numbers);

        if (number->label && number->unit == STAPLE_UNIT_TIME) {
            put_moment(r, number->label, value, now);
        }
        else if (number->label && number->unit == STAPLE_UNIT_SPAN) {
            put_line(r, number->label,
                     staple_words_span_text(value, r->pool));
        }
        else if (number->label) {
            put_line(r, number->label,
                     apr_psprintf(r->pool, "%" APR_INT64_T_FMT, value));
        }
    }
    put_exchange(r, view);
    ap_rputs("</section>\n", r);
}

static void put_identity(request_rec *r, const staple_cert_t *cert)
{
    ap_rputs("<section class=\"card rows\"><h2>The certificate</h2>\n", r);
    put_line(r, "Name", cert->name);
    put_line(r, "Subject", cert->subject_dn);
    put_line(r, "Issuer", cert->issuer_dn);
    put_line(r, "Serial", cert->serial);
    put_line(r, "Key", cert->key_type);
    put_line(r, "Must-staple", cert->is_must_staple
             ? "yes: clients refuse it without a response" : "no");
    if (cert->is_of_chain) {
        put_line(r, "Of a CA", "sent behind the certificates of the virtual "
                 "hosts below; it is here because StapleChain is on");
    }
    put_all(r, "Virtual hosts", cert->hosts);
    put_all(r, "Responders", cert->urls);
    if (cert->policy->response_files->nelts) {
        put_all(r, "Files", cert->policy->response_files);
    }
    if (cert->policy->proxy) {
        put_line(r, "Through", cert->policy->proxy_shown);
    }
    ap_rputs("</section>\n", r);
}

static void put_response(request_rec *r, const staple_view_t *view)
{
    const apr_array_header_t *lines;
    int i;

    if (!view->der) {
        return;
    }
    lines = staple_report_dissect(view->der, view->der_len, r->pool);
    ap_rputs("<section class=\"card rows\">", r);
    for (i = 0; i < lines->nelts; i++) {
        const staple_response_line_t *line = &APR_ARRAY_IDX(lines, i,
                                                     staple_response_line_t);

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
    staple_view_t view;
    int is_asked;

    staple_status_describe(moment, cert, &view, r->pool);
    is_asked = query->ask && moment->conf->may_act && moment->conf->token
               && view.der;
    staple_status_put_head(r, apr_pstrcat(r->pool, cert->name,
                                          ", OCSP stapling", NULL));
    ap_rvputs(r, "<header><a href=\"?\">All certificates</a>, as of ",
              staple_words_when_text(moment->report.now, r->pool), "<h1><bdi>",
              ap_escape_html(r->pool, staple_idn_text(cert->name, r->pool)),
              "</bdi></h1></header>\n<main>\n", NULL);
    put_done(r, query);
    put_state(r, &view);
    if (is_asked) {
        put_question(r, moment, &view);
    }
    else {
        put_actions(r, moment, &view);
    }
    put_numbers(r, &view, moment->report.now);
    put_identity(r, cert);
    put_response(r, &view);
    staple_status_put_foot(r, moment);
}
