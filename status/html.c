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
 */

#include "status_int.h"

#include <apr_strings.h>

/* Certificates on one page. */
#define PAGE_ROWS 200

/* So that a browser has something to show while the rest is on its way. */
#define FLUSH_ROWS 50

/* ----- small pieces ----- */

static const char *escape(const char *text, apr_pool_t *p)
{
    return ap_escape_html(p, text);
}

/* A moment as people like it, the exact one on hovering. */
static void put_time(request_rec *r, apr_time_t t, apr_time_t now,
                     apr_pool_t *p)
{
    const char *exact = staple_words_iso_text(t, p);

    if (!exact) {
        ap_rputs("never", r);
        return;
    }
    ap_rvputs(r, "<time datetime=\"", exact, "\" title=\"",
              staple_words_time_text(t, p), "\">",
              staple_status_distance(t, now, p), "</time>", NULL);
}

static void put_tag(request_rec *r, verdict_e verdict)
{
    ap_rvputs(r, "<span class=\"tag ", staple_status_colour(verdict), "\">",
              staple_status_verdict_text(verdict), "</span>", NULL);
}

/* How much of the validity is used, as a bar of 100. */
static void put_bar(request_rec *r, const view_t *view, apr_time_t now)
{
    apr_time_t from = view->numbers.this_update;
    apr_interval_time_t span = view->numbers.serve_until - from;
    int used = span > 0 ? (int)((now - from) * 100 / span) : 100;

    used = used < 0 ? 0 : used > 100 ? 100 : used;
    ap_rprintf(r, "<svg class=\"bar\" viewBox=\"0 0 100 4\" "
               "preserveAspectRatio=\"none\" role=\"img\" aria-label=\"%d %% "
               "of its validity used\"><rect class=\"%s\" width=\"%d\" "
               "height=\"4\"/></svg>", used,
               used >= 90 ? "bad" : used >= 75 ? "warn" : "good", used);
}

static const char *number_text(const number_t *number, const void *numbers,
                               apr_time_t now, apr_pool_t *p)
{
    apr_int64_t value = number_of(number, numbers);

    if (number->unit == UNIT_TIME) {
        return staple_status_distance(value, now, p);
    }
    if (number->unit == UNIT_SPAN) {
        return staple_words_span_text(value, p);
    }
    if (number->unit == UNIT_BYTES && value >= 10240) {
        return apr_psprintf(p, "%" APR_INT64_T_FMT " KiB", value / 1024);
    }
    return apr_psprintf(p, "%" APR_INT64_T_FMT "%s", value,
                        number->unit == UNIT_BYTES ? " B" : "");
}

static int is_left_out(const number_t *number, const char *without)
{
    return without && !strncmp(number->name, without, strlen(without));
}

/* @param without the beginning of names that are left out, or NULL */
static void put_numbers(request_rec *r, const number_t *number,
                        const void *numbers, const char *without,
                        apr_time_t now)
{
    ap_rputs("<div class=\"grid\">\n", r);
    for (; number->name; number++) {
        const char *exact = number->unit == UNIT_TIME
            ? staple_words_time_text(number_of(number, numbers), r->pool)
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
    const char *time = staple_words_iso_text(moment->now, r->pool);

    ap_rvputs(r, "</main>\n<footer>mod_staple/" STAPLE_VERSION ", ",
              escape(ap_get_server_description(), r->pool),
              ". As of <time datetime=\"", time, "\">",
              staple_words_time_text(moment->now, r->pool), "</time>. "
              "For programs: <a href=\"?json\">JSON</a>, "
              "<a href=\"?metrics\">metrics</a>, <a href=\"?auto\">lines</a>."
              "</footer>\n</body>\n</html>\n", NULL);
}

/* ----- the top ----- */

static void put_summary(request_rec *r, const moment_t *moment)
{
    int worst = 0, i;

    while (worst < VERDICT_NOT_APPLICABLE && !moment->verdicts[worst]) {
        worst++;
    }
    ap_rvputs(r, "<p class=\"sum ", staple_status_colour((verdict_e)worst),
              "\">", staple_status_summary(moment, r->pool), "</p>\n"
              "<ul class=\"chips\">\n", NULL);
    for (i = 0; i < VERDICTS; i++) {
        if (moment->verdicts[i]) {
            ap_rprintf(r, "<li><span class=\"tag %s\">%d %s</span></li>\n",
                       staple_status_colour((verdict_e)i), moment->verdicts[i],
                       staple_status_verdict_text((verdict_e)i));
        }
    }
    ap_rputs("</ul>\n", r);
}

/* What is below the table, which may be long. */
static void put_jumps(request_rec *r, const moment_t *moment)
{
    ap_rvputs(r, "<nav class=\"jump\">", moment->responders->nelts
              ? "<a href=\"#responders\">Responders</a>\n" : "",
              "<a href=\"#ring\">Server and ring</a>\n", moment->share
              ? "<a href=\"#share\">Share</a>\n" : "", "</nav>\n", NULL);
}

static void put_filter(request_rec *r, const query_t *query)
{
    ap_rvputs(r, "<form method=\"get\" role=\"search\"><input type=\"search\" "
              "name=\"q\" placeholder=\"Name, host, serial, responder\" "
              "aria-label=\"Words to look for\" value=\"",
              escape(query->words, r->pool), "\"><select name=\"show\" "
              "aria-label=\"Which certificates\"><option value=\"all\">All"
              "</option><option value=\"attention\"",
              query->only_attention ? " selected" : "",
              ">Need attention</option></select>"
              "<button>Filter</button></form>\n", NULL);
}

/* ----- the table ----- */

static void put_hosts(request_rec *r, const staple_cert_t *cert, apr_pool_t *p)
{
    int i, shown = cert->hosts->nelts < 3 ? cert->hosts->nelts : 3;

    ap_rputs("<div class=\"dim\">", r);
    for (i = 0; i < shown; i++) {
        ap_rvputs(r, i ? ", " : "",
                  escape(APR_ARRAY_IDX(cert->hosts, i, const char *), p),
                  NULL);
    }
    if (cert->hosts->nelts > shown) {
        ap_rprintf(r, " and %d more", cert->hosts->nelts - shown);
    }
    ap_rputs("</div>", r);
}

static void put_identity(request_rec *r, const staple_cert_t *cert,
                         apr_pool_t *p)
{
    ap_rvputs(r, "<td class=\"c1\"><a class=\"name\" href=\"?id=",
              staple_status_id_text(cert, p), "\">", escape(cert->name, p),
              "</a>", cert->is_must_staple
              ? " <span class=\"tag none\">must-staple</span>" : "", NULL);
    put_hosts(r, cert, p);
    ap_rvputs(r, "<div class=\"dim fine\">", escape(cert->issuer_dn, p),
              "</div><div class=\"dim fine\"><span class=\"mono\">",
              cert->serial, "</span>, ", escape(cert->key_type, p),
              "</div></td>\n", NULL);
}

static void put_verdict(request_rec *r, const view_t *view, apr_pool_t *p)
{
    ap_rputs("<td class=\"c2\">", r);
    put_tag(r, view->verdict);
    if (*view->cause) {
        ap_rvputs(r, "<div class=\"why\">", escape(view->cause, p), "</div>",
                  NULL);
    }
    if (*view->fault) {
        ap_rvputs(r, "<div class=\"dim why\">Look at ", view->fault, ": ",
                  view->advice, ".</div>", NULL);
    }
    ap_rputs("</td>\n", r);
}

static void put_validity(request_rec *r, const view_t *view, apr_time_t now,
                         apr_pool_t *p)
{
    if (!view->is_stapled) {
        ap_rputs("<td class=\"c3 dim\" data-l=\"Validity\">nothing is served"
                 "</td>\n", r);
        return;
    }
    ap_rputs("<td class=\"c3\">ends ", r);
    put_time(r, view->numbers.serve_until, now, p);
    put_bar(r, view, now);
    ap_rvputs(r, "<div class=\"dim fine\">from ",
              staple_words_time_text(view->numbers.this_update, p), "<br>to ",
              staple_words_time_text(view->numbers.serve_until, p),
              "</div></td>\n", NULL);
}

/* Whom it was asked of last, or is asked of first. */
static void put_url(request_rec *r, const view_t *view, apr_pool_t *p)
{
    const apr_array_header_t *urls = view->cert->urls;

    if (!urls->nelts) {
        return;
    }
    ap_rvputs(r, "<div class=\"dim mono fine\">",
              escape(view->url ? view->url
                               : APR_ARRAY_IDX(urls, 0, const char *), p),
              NULL);
    if (urls->nelts > 1 && view->url) {
        ap_rprintf(r, " (%d of %d)", staple_words_url_number(&view->state),
                   urls->nelts);
    }
    else if (urls->nelts > 1) {
        ap_rprintf(r, " and %d more", urls->nelts - 1);
    }
    ap_rputs("</div>", r);
}

static void put_exchange(request_rec *r, const view_t *view, apr_time_t now,
                         apr_pool_t *p)
{
    const char *phases = staple_words_phases_text(&view->state, p);

    if (!view->state.last_attempt) {
        ap_rputs("<td class=\"c4 dim\" data-l=\"Last exchange\">none</td>\n",
                 r);
        return;
    }
    ap_rputs("<td class=\"c4\" data-l=\"Last exchange\">", r);
    put_time(r, view->state.last_attempt, now, p);
    if (*view->peer) {
        ap_rvputs(r, " with <span class=\"mono\">", escape(view->peer, p),
                  "</span>", NULL);
    }
    ap_rvputs(r, "<div class=\"dim\">", escape(view->outcome, p), ", next ",
              NULL);
    put_time(r, view->state.next_due, now, p);
    ap_rputs("</div>", r);
    if (*phases) {
        ap_rvputs(r, "<div class=\"dim fine\">", phases, "</div>", NULL);
    }
    put_url(r, view, p);
    ap_rputs("</td>\n", r);
}

static void put_row(request_rec *r, const view_t *view, apr_time_t now,
                    apr_pool_t *p)
{
    ap_rputs(view->verdict >= VERDICT_STAPLED ? "<tr class=\"calm\">" : "<tr>",
             r);
    put_identity(r, view->cert, p);
    put_verdict(r, view, p);
    put_validity(r, view, now, p);
    put_exchange(r, view, now, p);
    ap_rprintf(r, "<td class=\"num\" data-l=\"Served\">%" APR_INT64_T_FMT
               "</td><td class=\"num\" data-l=\"Missed\">%" APR_INT64_T_FMT
               "</td></tr>\n", view->numbers.served, view->numbers.missed);
}

static void put_table(request_rec *r, const moment_t *moment, int from, int to)
{
    apr_pool_t *p;
    view_t view;
    int i;

    ap_rputs("<table class=\"certs\">\n<thead><tr><th class=\"c1\">"
             "Certificate</th><th class=\"c2\">Verdict</th><th class=\"c3\">"
             "Validity</th><th class=\"c4\">Last exchange</th>"
             "<th class=\"num\">Served</th><th class=\"num\">Missed</th></tr>"
             "</thead>\n<tbody>\n", r);
    apr_pool_create(&p, r->pool);
    for (i = from; i < to; i++) {
        staple_status_look(moment, moment->rows[i].cert, &view, p);
        put_row(r, &view, moment->now, p);
        apr_pool_clear(p);
        if (i % FLUSH_ROWS == FLUSH_ROWS - 1) {
            ap_rflush(r);
        }
    }
    apr_pool_destroy(p);
    ap_rputs("</tbody>\n</table>\n", r);
}

static void put_page_link(request_rec *r, const query_t *query, int page,
                          const char *text)
{
    ap_rprintf(r, "<a href=\"?q=%s&amp;show=%s&amp;page=%d\">%s</a>\n",
               ap_escape_urlencoded(r->pool, query->words),
               query->only_attention ? "attention" : "all", page, text);
}

static void put_pages(request_rec *r, const query_t *query, int pages)
{
    if (pages < 2) {
        return;
    }
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

static void put_certs(request_rec *r, const moment_t *moment,
                      const query_t *query)
{
    int pages = (moment->rows_count + PAGE_ROWS - 1) / PAGE_ROWS;
    int from = (query->page - 1) * PAGE_ROWS;
    int to = from + PAGE_ROWS;

    if (from >= moment->rows_count) {
        ap_rputs("<p class=\"card\">No certificate to show here.</p>\n", r);
        return;
    }
    put_table(r, moment, from, to < moment->rows_count ? to
                                                       : moment->rows_count);
    put_pages(r, query, pages);
}

/* ----- below ----- */

static void put_responder(request_rec *r, const responder_t *responder,
                          apr_time_t now, apr_pool_t *p)
{
    const responder_numbers_t *numbers = &responder->numbers;
    const char *peer = staple_words_peer_text(&responder->latest, p);

    ap_rvputs(r, "<tr><td class=\"mono\">", escape(responder->url, p),
              "</td><td><span class=\"tag ", numbers->failing ? "warn"
              : numbers->last_success ? "good" : "none", "\">", NULL);
    if (numbers->failing) {
        ap_rprintf(r, "failing for %" APR_INT64_T_FMT " of %" APR_INT64_T_FMT,
                   numbers->failing, numbers->certificates);
    }
    else {
        ap_rputs(numbers->last_success ? "well" : "not known", r);
    }
    ap_rvputs(r, "</span><div class=\"dim\">",
              escape(staple_status_responder_text(responder, p), p),
              *peer ? ", " : "", escape(peer, p),
              "</div></td><td class=\"num\" data-l=\"Certificates\">", NULL);
    ap_rprintf(r, "%" APR_INT64_T_FMT "</td><td data-l=\"Last success\">",
               numbers->certificates);
    put_time(r, numbers->last_success, now, p);
    ap_rputs("</td><td data-l=\"Last failure\">", r);
    put_time(r, numbers->last_failure, now, p);
    ap_rputs("</td></tr>\n", r);
}

#define RESPONDERS_SHOWN 50

static void put_responders(request_rec *r, const moment_t *moment)
{
    int count = moment->responders->nelts, i;

    if (!count) {
        return;
    }
    ap_rputs("<h2 id=\"responders\">Responders</h2>\n<table>\n<thead><tr>"
             "<th>Responder</th><th>Health</th><th class=\"num\">Certificates"
             "</th><th>Last success</th><th>Last failure</th></tr></thead>\n"
             "<tbody>\n", r);
    for (i = 0; i < count && i < RESPONDERS_SHOWN; i++) {
        put_responder(r, &APR_ARRAY_IDX(moment->responders, i, responder_t),
                      moment->now, r->pool);
    }
    ap_rputs("</tbody>\n</table>\n", r);
    if (count > RESPONDERS_SHOWN) {
        ap_rprintf(r, "<p class=\"dim\">%d more in <a href=\"?json\">JSON</a>."
                   "</p>\n", count - RESPONDERS_SHOWN);
    }
}

static void put_share(request_rec *r, const moment_t *moment)
{
    if (!moment->share) {
        return;
    }
    ap_rputs("<h2 id=\"share\">Share</h2>\n<div class=\"card\">\n", r);
    put_numbers(r, staple_status_share_numbers, &moment->share_numbers, NULL,
                moment->now);
    ap_rvputs(r, "<p class=\"dim\">Shared with a fleet through ",
              escape(moment->share, r->pool), "; ",
              escape(staple_status_share_text(moment, r->pool), r->pool),
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

static void put_server(request_rec *r, const moment_t *moment)
{
    const staple_status_conf_t *conf = moment->conf;

    ap_rputs("<h2 id=\"ring\">Server and ring</h2>\n<div class=\"card\">\n", r);
    put_numbers(r, staple_status_server_numbers, &moment->numbers,
                conf->cache ? NULL : "ring_", moment->now);
    ap_rvputs(r, "<p class=\"dim\">", ring_text(conf, r->pool), ". ",
              conf->share ? "" : "No share with other servers.",
              "</p>\n</div>\n", NULL);
}

void staple_status_put_html(request_rec *r, const moment_t *moment,
                            const query_t *query)
{
    const char *host = r->server->server_hostname;

    staple_status_put_head(r, apr_pstrcat(r->pool, "OCSP stapling on ", host,
                                          NULL));
    ap_rvputs(r, "<header>OCSP stapling<h1>", escape(host, r->pool),
              "</h1></header>\n<main>\n", NULL);
    put_summary(r, moment);
    put_jumps(r, moment);
    put_filter(r, query);
    put_certs(r, moment, query);
    put_responders(r, moment);
    put_server(r, moment);
    put_share(r, moment);
    staple_status_put_foot(r, moment);
}
