/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The page: is every site stapled, until when, and if not, whose fault is it
 * and what is to be done?
 *
 * The one idea: one self-contained document that needs nothing but a browser.
 * No script, nothing from outside, one style sheet in the head whose hash the
 * Content-Security-Policy names; bars are drawn by SVG attributes, because
 * that policy forbids style attributes. Whatever did not come from this file
 * goes through ap_escape_html, and attributes stand in double quotes.
 *
 * A certificate that is well takes one line; its own page has the rest.
 */

#include "status_int.h"

#include <apr_strings.h>

#include "staple_idn.h"
#include "staple_text.h"
#include "staple_words.h"

/* Certificates on one page. */
#define PAGE_ROWS 50

/* Virtual hosts that are named in a row. */
#define HOSTS_SHOWN 2

/* ----- small pieces ----- */

static const char *escape(const char *text, apr_pool_t *p)
{
    return ap_escape_html(p, text);
}

const char *staple_status_colour(staple_severity_e severity)
{
    static const char *const colours[] = { "good", "warn", "bad" };

    return colours[severity];
}

const char *staple_status_state_colour(staple_state_e state)
{
    return state == STAPLE_STATE_NOT_APPLICABLE
           ? "none" : staple_status_colour(staple_state_severity(state));
}

void staple_status_put_time(request_rec *r, apr_time_t t, apr_time_t now,
                            apr_pool_t *p)
{
    const char *exact = staple_words_when_text(t, p);

    if (!t) {
        ap_rputs("never", r);
        return;
    }
    ap_rvputs(r, "<time title=\"", exact, "\">",
              staple_words_distance_text(t, now, p), "</time>", NULL);
}

void staple_status_put_tag(request_rec *r, staple_state_e state)
{
    ap_rvputs(r, "<span class=\"tag ", staple_status_state_colour(state),
              "\">", staple_state_text(state), "</span>", NULL);
}

/* How much of the validity is used, as a bar of 100 and in figures. */
static void put_bar(request_rec *r, const staple_view_t *view, apr_time_t now)
{
    apr_time_t from = view->numbers.this_update;
    apr_interval_time_t span = view->numbers.serve_until - from;
    int used = span > 0 ? (int)((now - from) * 100 / span) : 100;
    const char *colour = "good";

    if (used >= 75) {
        colour = used >= 90 ? "bad" : "warn";
    }
    used = used < 0 ? 0 : used;
    used = used > 100 ? 100 : used;
    ap_rprintf(r, " <span class=\"used\"><svg class=\"bar\" viewBox=\"0 0 "
               "100 4\" preserveAspectRatio=\"none\" aria-hidden=\"true\">"
               "<rect class=\"%s\" width=\"%d\" height=\"4\"/></svg>"
               "%d %% used</span>", colour, used, used);
}

static const char *number_text(const staple_number_t *number,
                               const void *numbers, apr_time_t now,
                               apr_pool_t *p)
{
    apr_int64_t value = staple_number_of(number, numbers);

    if (number->unit == STAPLE_UNIT_TIME) {
        return staple_words_distance_text(value, now, p);
    }
    if (number->unit == STAPLE_UNIT_SPAN) {
        return staple_words_span_text(value, p);
    }
    if (number->unit == STAPLE_UNIT_BYTES && value >= 10240) {
        return apr_psprintf(p, "%" APR_INT64_T_FMT " KiB", value / 1024);
    }
    return apr_psprintf(p, "%" APR_INT64_T_FMT "%s", value,
                        number->unit == STAPLE_UNIT_BYTES ? " B" : "");
}

static int is_left_out(const staple_number_t *number, const char *without)
{
    return without && !strncmp(number->name, without, strlen(without));
}

/* @param without the beginning of names that are left out, or NULL */
static void put_numbers(request_rec *r, const staple_number_t *number,
                        const void *numbers, const char *without,
                        apr_time_t now)
{
    ap_rputs("<div class=\"grid\">\n", r);
    for (; number->name; number++) {
        const char *exact = number->unit == STAPLE_UNIT_TIME
            ? staple_words_when_text(staple_number_of(number, numbers), r->pool)
            : NULL;

        if (number->label && !is_left_out(number, without)) {
            ap_rvputs(r, "<dl title=\"", number->meaning, exact ? " " : "",
                      exact ? exact : "", "\"><dt>", number->label,
                      "</dt><dd>", number_text(number, numbers, now, r->pool),
                      "</dd></dl>\n", NULL);
        }
    }
    ap_rputs("</div>\n", r);
}

void staple_status_put_head(request_rec *r, const char *title)
{
    ap_rvputs(r, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n"
              "<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
              "content=\"width=device-width,initial-scale=1\">\n"
              "<meta name=\"robots\" content=\"noindex\">\n<title>",
              escape(title, r->pool), "</title>\n<style>",
              staple_status_style, "</style>\n</head>\n<body>\n", NULL);
}

void staple_status_put_foot(request_rec *r, const moment_t *moment)
{
    ap_rvputs(r, "</main>\n<footer>mod_staple/" STAPLE_VERSION ", ",
              escape(moment->report.server, r->pool),
              ". Times are in UTC. For programs: <a href=\"?json\">JSON</a>, "
              "<a href=\"?metrics\">metrics</a>, <a href=\"?auto\">lines</a>."
              "</footer>\n</body>\n</html>\n", NULL);
}

/* ----- the top ----- */

/* One way to narrow the list down: a link, unless it is what is shown. */
static void put_choice(request_rec *r, const query_t *query,
                       staple_state_e state, int only_attention,
                       const char *words)
{
    int is_chosen = query->state == state
                    && query->only_attention == only_attention;
    const char *colour = state == STAPLE_STATES
                         ? "none" : staple_status_state_colour(state);

    ap_rvputs(r, "<li><a class=\"tag ", colour, is_chosen ? " chosen" : "",
              "\" href=\"", staple_status_link(query, state, only_attention, 1,
                                               r->pool), "\"",
              is_chosen ? " aria-current=\"true\"" : "", ">", words,
              "</a></li>\n", NULL);
}

static const char *count_text(apr_int64_t count, const char *words,
                              apr_pool_t *p)
{
    return apr_psprintf(p, "%" APR_INT64_T_FMT " %s", count, words);
}

static void put_choices(request_rec *r, const moment_t *moment,
                        const query_t *query)
{
    const staple_report_t *report = &moment->report;
    int i;

    ap_rputs("<ul class=\"chips\" aria-label=\"Which certificates\">\n", r);
    put_choice(r, query, STAPLE_STATES, 0,
               count_text(report->numbers.certificates, "in all", r->pool));
    if (report->numbers.attention) {
        put_choice(r, query, STAPLE_STATES, 1,
                   count_text(report->numbers.attention, "need attention",
                              r->pool));
    }
    for (i = 0; i < STAPLE_STATES; i++) {
        if (report->states[i]) {
            put_choice(r, query, (staple_state_e)i, 0,
                       count_text(report->states[i],
                                  staple_state_text((staple_state_e)i),
                                  r->pool));
        }
    }
    ap_rputs("</ul>\n", r);
}

static void put_summary(request_rec *r, const moment_t *moment)
{
    const staple_report_t *report = &moment->report;

    ap_rvputs(r, "<p class=\"sum ",
              staple_status_state_colour(staple_report_worst(report)), "\">",
              staple_report_summary(report, r->pool), " <span class=\"since\">",
              staple_report_since_text(report, r->pool), "</span></p>\n", NULL);
}

/* Where the refresher stands still, all else will end in time. */
static void put_refresher(request_rec *r, const moment_t *moment)
{
    const staple_report_t *report = &moment->report;

    if (report->has_refresher && !report->refresher.running) {
        ap_rvputs(r, "<p class=\"sum bad\">The refresher: ",
                  staple_report_refresher_text(report, r->pool), ".</p>\n",
                  NULL);
    }
}

/* What is below the table, which may be long. */
static void put_jumps(request_rec *r, const moment_t *moment)
{
    ap_rvputs(r, "<nav class=\"jump\">", moment->report.responders->nelts
              ? "<a href=\"#responders\">Responders</a>\n" : "",
              "<a href=\"#ring\">Server and ring</a>\n", moment->report.share
              ? "<a href=\"#share\">Share</a>\n" : "", "</nav>\n", NULL);
}

static void put_search(request_rec *r, const query_t *query)
{
    ap_rvputs(r, "<form method=\"get\" role=\"search\"><input type=\"search\" "
              "name=\"q\" placeholder=\"Name, host, serial, responder\" "
              "aria-label=\"Words to look for\" value=\"",
              escape(query->words, r->pool), "\">", NULL);
    if (query->only_attention) {
        ap_rputs("<input type=\"hidden\" name=\"show\" value=\"attention\">",
                 r);
    }
    if (query->state != STAPLE_STATES) {
        ap_rvputs(r, "<input type=\"hidden\" name=\"state\" value=\"",
                  staple_state_name(query->state), "\">", NULL);
    }
    ap_rputs("<button>Search</button></form>\n", r);
}

/* ----- the table ----- */

/* An international name as people write it, and as it is. */
static void put_name(request_rec *r, const staple_cert_t *cert, apr_pool_t *p)
{
    const char *text = staple_idn_text(cert->name, p);

    ap_rvputs(r, "<a class=\"name\" href=\"?id=",
              staple_status_id_text(cert, p), "\"><bdi>", escape(text, p),
              "</bdi></a>", NULL);
    if (text != cert->name) {
        ap_rvputs(r, " <span class=\"dim\">(", escape(cert->name, p),
                  ")</span>", NULL);
    }
}

/* Virtual hosts, where they say more than the name of the certificate. */
static void put_hosts(request_rec *r, const staple_cert_t *cert, apr_pool_t *p)
{
    const apr_array_header_t *hosts = cert->hosts;
    const char *first = APR_ARRAY_IDX(hosts, 0, const char *);
    apr_size_t len = strlen(cert->name);
    int i;

    if (hosts->nelts == 1 && !strncmp(first, cert->name, len)
        && (!first[len] || first[len] == ':')) {
        return;
    }
    ap_rputs(" <span class=\"dim\">", r);
    for (i = 0; i < hosts->nelts && i < HOSTS_SHOWN; i++) {
        ap_rvputs(r, i ? ", " : "",
                  escape(APR_ARRAY_IDX(hosts, i, const char *), p), NULL);
    }
    if (hosts->nelts > HOSTS_SHOWN) {
        ap_rprintf(r, " and %d more", hosts->nelts - HOSTS_SHOWN);
    }
    ap_rputs("</span>", r);
}

static void put_identity(request_rec *r, const staple_cert_t *cert,
                         apr_pool_t *p)
{
    ap_rputs("<td class=\"c1\">", r);
    put_name(r, cert, p);
    if (cert->is_must_staple) {
        ap_rputs(" <span class=\"tag none\">must-staple</span>", r);
    }
    if (cert->is_of_chain) {
        ap_rputs(" <span class=\"tag none\" title=\"sent behind the "
                 "certificates of sites; listed for StapleChain\">CA</span>",
                 r);
    }
    put_hosts(r, cert, p);
    ap_rputs("</td>", r);
}

static void put_state(request_rec *r, const staple_view_t *view,
                      apr_time_t now, apr_pool_t *p)
{
    ap_rputs("<td class=\"c2\">", r);
    staple_status_put_tag(r, view->state);
    if (*view->cause) {
        ap_rvputs(r, " <span class=\"why\">", escape(view->cause, p),
                  "</span>", NULL);
    }
    if (view->numbers.attention && view->numbers.since) {
        ap_rvputs(r, "<span class=\"dim\">", *view->cause ? "," : "",
                  " for <time title=\"since ",
                  staple_words_when_text(view->numbers.since, p), "\">",
                  staple_words_span_text(now - view->numbers.since, p),
                  "</time></span>", NULL);
    }
    ap_rputs("</td>", r);
}

static void put_validity(request_rec *r, const staple_view_t *view,
                         apr_time_t now, apr_pool_t *p)
{
    if (!view->is_stapled) {
        ap_rputs("<td class=\"c3 dim\" data-l=\"Ends\">-</td>", r);
        return;
    }
    ap_rputs("<td class=\"c3\" data-l=\"Ends\">", r);
    staple_status_put_time(r, view->numbers.serve_until, now, p);
    put_bar(r, view, now);
    ap_rputs("</td>", r);
}

/* A request whose time has come is made as soon as there is a place for it. */
static void put_next(request_rec *r, const staple_view_t *view, apr_time_t now,
                     apr_pool_t *p)
{
    apr_time_t due = view->numbers.next_due;

    ap_rputs("<td class=\"c4\" data-l=\"Next request\">", r);
    if (due) {
        staple_status_put_time(r, due, due < now ? due : now, p);
    }
    else {
        ap_rputs("<span class=\"dim\">-</span>", r);
    }
    ap_rputs("</td>", r);
}

static void put_row(request_rec *r, const staple_view_t *view, apr_time_t now,
                    apr_pool_t *p)
{
    ap_rputs("<tr>", r);
    put_identity(r, view->cert, p);
    put_state(r, view, now, p);
    put_validity(r, view, now, p);
    put_next(r, view, now, p);
    ap_rputs("</tr>\n", r);
}

static void put_table(request_rec *r, const moment_t *moment, int from, int to)
{
    apr_pool_t *p_row;
    staple_view_t view;
    int i;

    ap_rputs("<table class=\"certs\">\n<thead><tr><th class=\"c1\">"
             "Certificate</th><th class=\"c2\">State</th><th class=\"c3\">"
             "Ends</th><th class=\"c4\">Next request</th></tr></thead>"
             "\n<tbody>\n", r);
    apr_pool_create(&p_row, r->pool);
    for (i = from; i < to; i++) {
        staple_status_describe(moment, moment->rows[i].cert, &view, p_row);
        put_row(r, &view, moment->report.now, p_row);
        apr_pool_clear(p_row);
    }
    apr_pool_destroy(p_row);
    ap_rputs("</tbody>\n</table>\n", r);
}

static void put_page_link(request_rec *r, const query_t *query, int page,
                          const char *text)
{
    ap_rvputs(r, "<a href=\"",
              staple_status_link(query, query->state, query->only_attention,
                                 page, r->pool), "\">", text, "</a>\n", NULL);
}

static void put_pages(request_rec *r, const query_t *query, int pages)
{
    ap_rputs("<nav class=\"pages\">", r);
    if (query->page > 1) {
        put_page_link(r, query, query->page - 1, "Previous");
    }
    ap_rprintf(r, "<span>Page %d of %d</span>\n", query->page, pages);
    if (query->page < pages) {
        put_page_link(r, query, query->page + 1, "Next");
    }
    ap_rputs("</nav>\n", r);
}

static int is_narrowed(const query_t *query)
{
    return *query->words || query->only_attention
           || query->state != STAPLE_STATES;
}

/* How many there are of what was asked for, and the way back to all. */
static void put_found(request_rec *r, const query_t *query, int count)
{
    if (!is_narrowed(query)) {
        return;
    }
    ap_rprintf(r, "<p class=\"found\">%d certificate%s", count,
               staple_text_plural(count));
    if (*query->words) {
        ap_rvputs(r, " with \xe2\x80\x9c", escape(query->words, r->pool),
                  "\xe2\x80\x9d", NULL);
    }
    if (query->only_attention) {
        ap_rputs(count == 1 ? " that needs attention" : " that need attention",
                 r);
    }
    if (query->state != STAPLE_STATES) {
        ap_rvputs(r, " in the state: ", staple_state_text(query->state), NULL);
    }
    ap_rputs(". <a href=\"?\">Show all</a></p>\n", r);
}

/* The way to other pages stands above the table as well as below: on a phone
 * fifty certificates are a long way. */
static void put_certs(request_rec *r, const moment_t *moment,
                      const query_t *query)
{
    int count = moment->rows_count;
    int pages = (count + PAGE_ROWS - 1) / PAGE_ROWS;
    int from = (query->page - 1) * PAGE_ROWS;
    int to = from + PAGE_ROWS;

    put_found(r, query, count);
    if (from >= count) {
        ap_rputs("<p class=\"card\">No certificate to show here.</p>\n", r);
        return;
    }
    if (pages > 1) {
        put_pages(r, query, pages);
    }
    put_table(r, moment, from, to < count ? to : count);
    if (pages > 1) {
        put_pages(r, query, pages);
    }
}

/* ----- below ----- */

static void put_health(request_rec *r, const staple_responder_t *responder)
{
    const staple_responder_numbers_t *numbers = &responder->numbers;

    if (numbers->failing) {
        ap_rprintf(r, "<span class=\"tag %s\">%s, failing for %"
                   APR_INT64_T_FMT " of %" APR_INT64_T_FMT "</span>",
                   staple_responder_is_down(responder) ? "bad" : "warn",
                   staple_responder_is_down(responder) ? "down" : "up",
                   numbers->failing, numbers->certificates);
        return;
    }
    ap_rputs(numbers->answering ? "<span class=\"tag good\">up</span>"
                                : "<span class=\"tag none\">not asked</span>",
             r);
}

static void put_responder(request_rec *r, const staple_responder_t *responder,
                          apr_time_t now, apr_pool_t *p)
{
    const staple_responder_numbers_t *numbers = &responder->numbers;
    const char *peer = staple_words_peer_text(&responder->latest, p);

    ap_rvputs(r, "<tr><td class=\"mono\">", escape(responder->url, p),
              "</td><td>", NULL);
    put_health(r, responder);
    ap_rvputs(r, " <span class=\"dim\">",
              escape(staple_report_responder_text(responder, p), p),
              *peer ? ", " : "", escape(peer, p),
              "</span></td><td class=\"num\" data-l=\"Certificates\">", NULL);
    ap_rprintf(r, "%" APR_INT64_T_FMT "</td><td data-l=\"Last answer\">",
               numbers->certificates);
    staple_status_put_time(r, numbers->last_success, now, p);
    ap_rputs("</td><td data-l=\"Last failure\">", r);
    staple_status_put_time(r, numbers->last_failure, now, p);
    ap_rputs("</td></tr>\n", r);
}

#define RESPONDERS_SHOWN 20

static void put_responders(request_rec *r, const moment_t *moment)
{
    const apr_array_header_t *list = moment->report.responders;
    int i;

    if (!list->nelts) {
        return;
    }
    ap_rputs("<h2 id=\"responders\">Responders</h2>\n<table>\n<thead><tr>"
             "<th>Responder</th><th>Health</th><th class=\"num\">Certificates"
             "</th><th>Last answer</th><th>Last failure</th></tr></thead>\n"
             "<tbody>\n", r);
    for (i = 0; i < list->nelts && i < RESPONDERS_SHOWN; i++) {
        put_responder(r, &APR_ARRAY_IDX(list, i, staple_responder_t),
                      moment->report.now, r->pool);
    }
    ap_rputs("</tbody>\n</table>\n", r);
    if (list->nelts > RESPONDERS_SHOWN) {
        ap_rprintf(r, "<p class=\"dim\">%d more in <a href=\"?json\">JSON</a>."
                   "</p>\n", list->nelts - RESPONDERS_SHOWN);
    }
}

static void put_share(request_rec *r, const moment_t *moment)
{
    const staple_report_t *report = &moment->report;

    if (!report->share) {
        return;
    }
    ap_rputs("<h2 id=\"share\">Share</h2>\n<div class=\"card\">\n", r);
    put_numbers(r, staple_report_share_numbers, &report->share_numbers, NULL,
                report->now);
    ap_rvputs(r, "<p class=\"dim\">Shared with a fleet through ",
              escape(report->share, r->pool), "; ",
              escape(staple_report_share_text(report, r->pool), r->pool),
              ".</p>\n</div>\n", NULL);
}

static const char *ring_text(const staple_status_conf_t *conf, apr_pool_t *p)
{
    if (!conf->cache) {
        return "There is no ring, because no certificate can be stapled";
    }
    return conf->ring_path
           ? apr_pstrcat(p, "Ring in ", escape(conf->ring_path, p), NULL)
           : "Ring in memory only: responses do not survive a stop";
}

static void put_notes(request_rec *r, const apr_array_header_t *notes)
{
    int i;

    for (i = 0; notes && i < notes->nelts; i++) {
        ap_rvputs(r, "<p>Configuration: ",
                  escape(APR_ARRAY_IDX(notes, i, const char *), r->pool),
                  "</p>\n", NULL);
    }
}

static void put_server(request_rec *r, const moment_t *moment)
{
    const staple_report_t *report = &moment->report;

    ap_rputs("<h2 id=\"ring\">Server and ring</h2>\n<div class=\"card\">\n", r);
    put_numbers(r, staple_report_server_numbers, &report->numbers,
                moment->conf->cache ? NULL : "ring_", report->now);
    ap_rvputs(r, "<p class=\"dim\">", ring_text(moment->conf, r->pool), ". ",
              report->share ? "" : "No share with other servers.",
              "</p>\n", NULL);
    if (report->has_refresher) {
        ap_rvputs(r, "<p class=\"dim\">Refresher: ",
                  staple_report_refresher_text(report, r->pool), ". Restarts: ",
                  apr_psprintf(r->pool, "%" APR_INT64_T_FMT,
                               report->refresher.restarts), ".</p>\n", NULL);
    }
    ap_rputs("</div>\n", r);
    put_notes(r, moment->conf->notes);
}

void staple_status_put_html(request_rec *r, const moment_t *moment,
                            const query_t *query)
{
    const char *host = moment->report.host;

    staple_status_put_head(r, apr_pstrcat(r->pool, "OCSP stapling on ", host,
                                          NULL));
    ap_rvputs(r, "<header>OCSP stapling, as of ",
              staple_words_when_text(moment->report.now, r->pool), "<h1>",
              escape(host, r->pool), "</h1></header>\n<main>\n", NULL);
    put_summary(r, moment);
    put_refresher(r, moment);
    staple_status_put_trouble(r, moment, query);
    put_choices(r, moment, query);
    put_search(r, query);
    put_certs(r, moment, query);
    put_jumps(r, moment);
    put_responders(r, moment);
    put_server(r, moment);
    put_share(r, moment);
    staple_status_put_foot(r, moment);
}
