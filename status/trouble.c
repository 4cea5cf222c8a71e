/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The part of the page that says what is wrong.
 *
 * The one idea: trouble is grouped by its cause. What certificates suffer from
 * the same responder is told once, with what it means for how many of them; the
 * list below has them one by one.
 */

#include "status_int.h"

#include <apr_strings.h>


/* Failing responders that are told of; ?json has all. */
#define RESPONDERS_SHOWN 20

static void put_advice(request_rec *r, const staple_state_advice_t *advice)
{
    if (*advice->who) {
        ap_rvputs(r, "<p class=\"dim\">Look at ", advice->who, ": ",
                  ap_escape_html(r->pool, advice->remedy), ".</p>\n", NULL);
    }
}

/* "http://ocsp.example.com/path" is known by its host. */
static const char *short_name(const char *url, apr_pool_t *p)
{
    const char *host = strstr(url, "://");

    if (!host) {
        return url;
    }
    host += 3;
    return apr_pstrmemdup(p, host, strcspn(host, "/?"));
}

static void put_count_link(request_rec *r, const char *query, apr_int64_t count)
{
    ap_rprintf(r, "<a href=\"%s\">%" APR_INT64_T_FMT " certificate%s</a>",
               query, count, count == 1 ? "" : "s");
}

static void put_last_answer(request_rec *r, const staple_responder_t *responder,
                            apr_time_t now)
{
    if (responder->numbers.last_success) {
        ap_rputs(" Last answer: ", r);
        staple_status_put_time(r, responder->numbers.last_success, now,
                               r->pool);
        ap_rputs(".", r);
    }
}

static void put_responder(request_rec *r, const moment_t *moment,
                          const staple_responder_t *responder)
{
    const staple_responder_numbers_t *numbers = &responder->numbers;
    staple_state_advice_t advice = staple_state_advise_failure(
        &responder->failure, responder->url, r->pool);

    ap_rvputs(r, "<article class=\"card ",
              responder->is_critical ? "bad" : "warn",
              "\"><h3>", ap_escape_html(r->pool, short_name(responder->url,
                                                            r->pool)),
              staple_responder_is_down(responder) ? ": " : ", in part: ",
              NULL);
    put_count_link(r, apr_pstrcat(r->pool, "?q=", ap_escape_urlencoded(
                                      r->pool, responder->url),
                                  "&amp;show=attention", NULL),
                   numbers->failing);
    ap_rvputs(r, "</h3>\n<p>",
              ap_escape_html(r->pool, staple_report_trouble_text(responder,
                                                                 r->pool)),
              ".", NULL);
    put_last_answer(r, responder, moment->report.now);
    ap_rputs("</p>\n", r);
    put_advice(r, &advice);
    ap_rputs("</article>\n", r);
}

/* What no responder has to do with, by state. */
static void put_state(request_rec *r, staple_state_e state, int count)
{
    staple_state_advice_t advice = staple_state_advise(state, NULL, NULL,
                                                       r->pool);

    ap_rvputs(r, "<article class=\"card ", staple_status_state_colour(state),
              "\"><h3>", staple_state_text(state), ": ", NULL);
    put_count_link(r, apr_pstrcat(r->pool, "?state=", staple_state_name(state),
                                  NULL), count);
    ap_rvputs(r, "</h3>\n<p>", staple_state_meaning(state), "</p>\n", NULL);
    put_advice(r, &advice);
    ap_rputs("</article>\n", r);
}

static void put_responders(request_rec *r, const moment_t *moment)
{
    const apr_array_header_t *list = moment->report.responders;
    int i, failing = 0;

    for (i = 0; i < list->nelts; i++) {
        const staple_responder_t *responder
            = &APR_ARRAY_IDX(list, i, staple_responder_t);

        if (!responder->numbers.failing) {
            break; /* the failing come first */
        }
        if (failing++ < RESPONDERS_SHOWN) {
            put_responder(r, moment, responder);
        }
    }
    if (failing > RESPONDERS_SHOWN) {
        ap_rprintf(r, "<p class=\"dim\">%d more responders fail; <a "
                   "href=\"?json\">JSON</a> has them.</p>\n",
                   failing - RESPONDERS_SHOWN);
    }
}

/* Whoever looks for something wants to see what was found. */
static int is_search(const query_t *query)
{
    return query->page > 1 || *query->words || query->state != STAPLE_STATES;
}

void staple_status_put_trouble(request_rec *r, const moment_t *moment,
                               const query_t *query)
{
    const staple_report_t *report = &moment->report;
    int i;

    if (!report->numbers.attention || is_search(query)) {
        return;
    }
    ap_rputs("<section id=\"trouble\">\n<h2>What is wrong</h2>\n", r);
    put_responders(r, moment);
    for (i = 0; i < STAPLE_STATES; i++) {
        if (report->others[i]
            && staple_state_needs_attention((staple_state_e)i)) {
            put_state(r, (staple_state_e)i, report->others[i]);
        }
    }
    ap_rputs("</section>\n", r);
}
