/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * staplectl: entries as text for people, and as JSON for programs.
 *
 * The one idea: whatever a certificate or a responder wrote has been made
 * printable before it gets here, so that no terminal can be fooled.
 */

#include "staplectl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>

#include <apr_strings.h>

#include <openssl/err.h>
#include <openssl/ocsp.h>

#include "staple_words.h"

/* ----- the list ----- */

/* Columns of the list; the last one ends the line. */
enum { COLUMN_STATE, COLUMN_VALID, COLUMN_NAME, COLUMN_LAST, COLUMNS };

static const char *valid_text(const staple_view_t *view, apr_time_t now,
                              apr_pool_t *p)
{
    apr_time_t until = view->numbers.serve_until;

    if (!until) {
        return "-";
    }
    return until > now
           ? apr_pstrcat(p, "for ", staple_words_span_text(until - now, p),
                         NULL)
           : apr_pstrcat(p, "ended ", staple_words_distance_text(until, now, p),
                         NULL);
}

static const char *last_text(const staple_view_t *view, apr_time_t now,
                             apr_pool_t *p)
{
    if (view->exchange.begun_at) {
        return apr_pstrcat(p, "being asked, for ",
                           staple_words_span_text(now
                                                  - view->exchange.begun_at,
                                                  p), NULL);
    }
    if (!view->has_slot || view->state == STAPLE_STATE_NOT_APPLICABLE) {
        return view->cause;
    }
    return *view->outcome
           ? apr_pstrcat(p, staple_words_distance_text(
                                view->exchange.last_attempt, now, p),
                         ": ", view->outcome, NULL)
           : "never asked";
}

static void fill_row(const char *row[COLUMNS], const staple_view_t *view,
                     apr_time_t now, apr_pool_t *p)
{
    row[COLUMN_STATE] = staple_state_name(view->state);
    row[COLUMN_VALID] = valid_text(view, now, p);
    row[COLUMN_NAME] = view->name;
    row[COLUMN_LAST] = last_text(view, now, p);
}

/* Colours are for terminals, and for people who have not switched them off
 * (NO_COLOR, https://no-color.org). */
static int has_colours(void)
{
    const char *off = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");

    return isatty(STDOUT_FILENO) && !(off && *off)
           && !(terminal && !strcmp(terminal, "dumb"));
}

static const char *colour_of(staple_state_e state)
{
    static const char *const colours[] = { "\033[32m", "\033[33m",
                                           "\033[31m" };

    return colours[staple_state_severity(state)];
}

/* ----- what a terminal has room for ----- */

static int terminal_size(struct winsize *size)
{
    memset(size, 0, sizeof(*size));
    return isatty(STDOUT_FILENO) && !ioctl(STDOUT_FILENO, TIOCGWINSZ, size);
}

int staplectl_print_height(void)
{
    struct winsize size;

    return terminal_size(&size) ? size.ws_row : 0;
}

/* Names are cut to this at least, and what follows them gets this much. */
#define NAME_LEAST 24
#define LAST_WANTED 30

/* How wide names may be; on anything but a terminal as wide as they are. */
static int name_width(const int widths[])
{
    struct winsize size;
    int room;

    if (!terminal_size(&size) || !size.ws_col) {
        return widths[COLUMN_NAME];
    }
    room = size.ws_col - widths[COLUMN_STATE] - widths[COLUMN_VALID] - 6
           - LAST_WANTED;
    room = room < NAME_LEAST ? NAME_LEAST : room;
    return room < widths[COLUMN_NAME] ? room : widths[COLUMN_NAME];
}

/* "a-very-lo..name.test:443": both ends say something. */
static const char *cut_in_the_middle(const char *text, int width,
                                     apr_pool_t *p)
{
    int len = (int)strlen(text), tail = (width - 2) / 2;

    if (len <= width) {
        return text;
    }
    return apr_psprintf(p, "%.*s..%s", width - 2 - tail, text,
                        text + len - tail);
}

/* ----- rows ----- */

/* @param colour "": none */
static void print_row(const char *const row[COLUMNS], const int widths[],
                      const char *colour)
{
    printf("%s%-*s%s  %-*s  %-*s  %s\n", colour, widths[COLUMN_STATE],
           row[COLUMN_STATE], *colour ? "\033[0m" : "", widths[COLUMN_VALID],
           row[COLUMN_VALID], widths[COLUMN_NAME], row[COLUMN_NAME],
           row[COLUMN_LAST]);
}

static void measure(const char *(*rows)[COLUMNS], int count, int widths[])
{
    int i, k;

    for (i = 0; i < count; i++) {
        for (k = 0; k < COLUMN_LAST; k++) {
            int width = (int)strlen(rows[i][k]);

            widths[k] = width > widths[k] ? width : widths[k];
        }
    }
    widths[COLUMN_NAME] = name_width(widths);
}

static void print_rows(const apr_array_header_t *entries, int count,
                       apr_time_t now, apr_pool_t *p)
{
    static const char *const titles[COLUMNS] = { "STATE", "VALID",
        "CERTIFICATE", "LAST EXCHANGE" };
    const char *(*rows)[COLUMNS]
        = apr_palloc(p, ((apr_size_t)count + 1) * sizeof(*rows));
    int widths[COLUMNS] = { 5, 5, 11, 0 };
    int colours = has_colours(), i;

    for (i = 0; i < count; i++) {
        fill_row(rows[i], &APR_ARRAY_IDX(entries, i, staplectl_entry_t).view,
                 now, p);
    }
    measure(rows, count, widths);
    print_row(titles, widths, "");
    for (i = 0; i < count; i++) {
        rows[i][COLUMN_NAME] = cut_in_the_middle(rows[i][COLUMN_NAME],
                                                 widths[COLUMN_NAME], p);
        print_row((const char *const *)rows[i], widths, colours
                  ? colour_of(APR_ARRAY_IDX(entries, i,
                                            staplectl_entry_t).view.state)
                  : "");
    }
}

static void print_share(const staple_report_t *report, apr_pool_t *p)
{
    const staple_number_t *number = staple_report_share_numbers;
    const char *glue = "share: ";

    for (; number->name; number++) {
        if (number->label && number->unit == STAPLE_UNIT_NONE) {
            printf("%s%s %" APR_INT64_T_FMT, glue, number->label,
                   staple_number_of(number, &report->share_numbers));
            glue = ", ";
        }
    }
    printf("; %s\n", staple_report_share_text(report, p));
}

void staplectl_print_list(const staplectl_ring_t *ring,
                          const apr_array_header_t *entries, int most,
                          apr_time_t now, apr_pool_t *p)
{
    const staple_report_t *report = &ring->report;
    int count = most > 0 && most < entries->nelts ? most : entries->nelts;

    print_rows(entries, count, now, p);
    if (count < ring->entries->nelts) {
        printf("%d of %d certificates are listed.\n", count,
               ring->entries->nelts);
    }
    printf("%s %s\n", staple_report_summary(report, p),
           staple_report_since_text(report, p));
    if (ring->is_missing) {
        printf("There is no ring at %s: a server makes it when it starts and "
               "has a certificate that can be stapled.\n", ring->path);
        return;
    }
    printf("ring %s: %" APR_INT64_T_FMT " of %" APR_INT64_T_FMT " bytes in "
           "use, made %s, written %s\n", ring->path,
           report->numbers.ring_live, report->numbers.ring_data,
           staple_words_when_text(report->numbers.ring_created, p),
           staple_words_when_text(report->ring_written, p));
    if (report->share) {
        print_share(report, p);
    }
}

/* ----- one entry ----- */

static void put(const char *label, const char *value)
{
    printf("%-14s %s\n", label, value);
}

static void put_time(const char *label, apr_time_t t, apr_time_t now,
                     apr_pool_t *p)
{
    put(label, t ? apr_pstrcat(p, staple_words_when_text(t, p), " (",
                               staple_words_distance_text(t, now, p), ")", NULL)
                 : "never");
}

static void put_cert(const staple_cert_t *cert, apr_pool_t *p)
{
    const char *urls = apr_array_pstrcat(p, cert->urls, ' ');

    put("subject", cert->subject_dn);
    put("issuer", cert->issuer_dn);
    put("responders", *urls ? urls : "none");
}

static void put_traits(const staple_state_traits_t *traits, apr_time_t now,
                       apr_pool_t *p)
{
    if (traits->is_known) {
        put_time("ends", traits->not_after, now, p);
        put("must-staple", traits->is_must_staple ? "yes" : "no");
    }
    if (traits->is_of_chain) {
        put("of a CA", "it is here because StapleChain is on");
    }
}

static const char *judgement_text(const staple_view_t *view, apr_pool_t *p)
{
    return view->reason == STAPLE_OCSP_OK
           ? "true and about this certificate"
           : apr_pstrcat(p, "the response ",
                         staple_ocsp_reason_text(view->reason), NULL);
}

static void put_contents(const staple_view_t *view, apr_time_t now,
                         apr_pool_t *p)
{
    const staple_report_response_t *response = view->response;

    put_time("produced", response->produced_at, now, p);
    put("responder", response->responder);
    put("signed with", response->algorithm);
    if (view->numbers.revoked) {
        put_time("revoked", view->numbers.revoked, now, p);
        put("reason", staple_ocsp_crl_reason_text(
                          (int)view->numbers.revoked_reason));
    }
}

static void put_response(const staple_view_t *view, apr_time_t now,
                         apr_pool_t *p)
{
    if (!view->der) {
        put("response", "none");
        return;
    }
    put("response", apr_psprintf(p, "%s, %" APR_SIZE_T_FMT " bytes",
                                 staple_ocsp_status_text(
                                     (staple_ocsp_status_e)view->meta.status),
                                 view->der_len));
    if (view->is_judged) {
        put("judgement", judgement_text(view, p));
    }
    put_time("this update", view->meta.this_update, now, p);
    put_time("next update", view->meta.next_update, now, p);
    put_time("served until", view->numbers.serve_until, now, p);
    if (view->response) {
        put_contents(view, now, p);
    }
}

/* Which URL was asked, as far as the certificate says what they are. */
static const char *url_text(const staple_view_t *view, apr_pool_t *p)
{
    int number = staple_words_url_number(&view->exchange);

    if (view->url) {
        return view->url;
    }
    return number ? apr_psprintf(p, "number %d of its URLs", number) : "none";
}

static void put_exchange(const staple_view_t *view, apr_time_t now,
                         apr_pool_t *p)
{
    const staple_cache_state_t *exchange = &view->exchange;
    const char *phases = staple_words_phases_text(exchange, p);

    if (!staplectl_entry_is_asked(view)) {
        return;
    }
    if (view->der) {
        put_time("fetched", view->meta.fetched_at, now, p);
    }
    put_time("last exchange", exchange->last_attempt, now, p);
    put("  address", *view->peer ? view->peer : "none");
    put("  responder", url_text(view, p));
    put("  took", *phases ? phases : "-");
    put("  outcome", *view->outcome ? view->outcome : "none yet");
    put_time("last success", exchange->last_success, now, p);
    put_time("next attempt", exchange->next_due, now, p);
    put("attempts", apr_psprintf(p, "%u, of which %u failed, the last %u in a "
                                 "row", (unsigned)exchange->attempts,
                                 (unsigned)exchange->failures,
                                 (unsigned)exchange->failing));
}

void staplectl_print_entry(const staplectl_entry_t *entry, apr_time_t now,
                           apr_pool_t *p)
{
    const staple_view_t *view = &entry->view;

    put("certificate", view->name);
    if (*view->host) {
        put("virtual host", view->host);
    }
    put("state", apr_pstrcat(p, staple_state_name(view->state),
                             *view->cause ? ": " : "", view->cause, NULL));
    if (*view->advice.who) {
        put("look at", apr_pstrcat(p, view->advice.who, ": ",
                                   view->advice.remedy, NULL));
    }
    if (view->numbers.since) {
        put_time("since", view->numbers.since, now, p);
    }
    put("serial", *view->serial ? view->serial : "not known");
    put("id", staple_report_id_text(view->id, p));
    if (view->cert) {
        put_cert(view->cert, p);
    }
    put_traits(&view->traits, now, p);
    put_response(view, now, p);
    put_exchange(view, now, p);
}

/* A terminal obeys control characters, so none gets there. */
static void put_lines(const char *text, long len)
{
    long i;

    for (i = 0; i < len; i++) {
        putchar(text[i] == '\n' || (text[i] >= ' ' && text[i] <= '~')
                ? text[i] : '?');
    }
}

void staplectl_print_response(const staplectl_entry_t *entry)
{
    const unsigned char *der = entry->view.der;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &der,
                                                (long)entry->view.der_len);
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    long len;

    if (response && bio && OCSP_RESPONSE_print(bio, response, 0)) {
        len = BIO_get_mem_data(bio, &data);
        put_lines(data, len);
    }
    BIO_free(bio);
    OCSP_RESPONSE_free(response);
    ERR_clear_error();
}

/* ----- JSON ----- */

static void write_bytes(void *baton, const char *bytes, apr_size_t len)
{
    fwrite(bytes, 1, len, baton);
}

/* Of entries that came with a handshake there is no more than they say. */
static const staple_report_t *report_of(const apr_array_header_t *entries,
                                        apr_time_t now, apr_pool_t *p)
{
    staple_report_t *report = apr_palloc(p, sizeof(*report));
    int i;

    staple_report_start(report, "handshake", now, p);
    for (i = 0; i < entries->nelts; i++) {
        staple_report_add(report, &APR_ARRAY_IDX(entries, i,
                                                 staplectl_entry_t).view, p);
    }
    staple_report_finish(report, p);
    return report;
}

void staplectl_print_json(const staplectl_ring_t *ring,
                          const apr_array_header_t *entries,
                          staple_report_depth_e depth, apr_time_t now,
                          apr_pool_t *p)
{
    staple_json_t json;
    apr_pool_t *p_row;
    int i;

    apr_pool_create(&p_row, p);
    staple_json_start(&json, write_bytes, stdout);
    staple_report_json_start(&json, ring ? &ring->report
                                         : report_of(entries, now, p), p);
    for (i = 0; i < entries->nelts; i++) {
        staple_report_json_cert(&json, &APR_ARRAY_IDX(entries, i,
                                                      staplectl_entry_t).view,
                                depth, p_row);
        apr_pool_clear(p_row);
    }
    staple_report_json_end(&json);
    apr_pool_destroy(p_row);
}
