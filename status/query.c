/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What a query may have.
 *
 * The one idea: a query is understood completely or refused with the list of
 * what there is; nothing of it is guessed.
 */

#include "status_int.h"

#include <stdlib.h>
#include <string.h>
#include <apr_strings.h>

#define IN(show) (1 << (show))
#define LISTS (IN(SHOW_HTML) | IN(SHOW_JSON) | IN(SHOW_METRICS) | IN(SHOW_AUTO))

/* What a query may have, and with which view. */
static const struct {
    const char *key;
    int views;
    int has_value;
    const char *meaning;
} keys[] = {
    { "json", IN(SHOW_JSON), 0, "everything as JSON" },
    { "metrics", IN(SHOW_METRICS), 0, "OpenMetrics, for Prometheus" },
    { "detail", IN(SHOW_METRICS), 0, "metrics of each certificate" },
    { "auto", IN(SHOW_AUTO), 0, "lines for scripts" },
    { "der", IN(SHOW_DER), 1, "ID: the response of a certificate, as DER" },
    { "token", IN(SHOW_TOKEN), 0, "the token that a POST has to bring" },
    { "id", IN(SHOW_HTML) | IN(SHOW_JSON), 1, "ID: one certificate" },
    { "serial", LISTS, 1, "HEX: certificates with that serial number" },
    { "q", LISTS, 1, "WORDS: certificates in whose names, hosts, serial, "
      "responders or state they occur" },
    { "show", LISTS, 1, "attention or all" },
    { "state", LISTS, 1, "STATE: certificates that are in it" },
    { "page", IN(SHOW_HTML), 1, "NUMBER: of the page, from 1" },
    { "ask", IN(SHOW_HTML), 1, "forget: the question before it is done" },
    { "done", IN(SHOW_HTML), 1, "refresh or forget: what was just done" }
};

#define KEYS (int)(sizeof(keys) / sizeof(*keys))

/* The values given, by key; NULL: not given. */
typedef const char *given_t[KEYS];

/** @return NULL, or what is wrong */
static const char *split_query(char *args, given_t given, apr_pool_t *p)
{
    char *state = NULL, *item;
    int i;

    for (item = apr_strtok(args, "&", &state); item;
         item = apr_strtok(NULL, "&", &state)) {
        char *value = strchr(item, '=');

        if (value) {
            *value++ = '\0';
        }
        for (i = 0; i < KEYS && strcmp(item, keys[i].key); i++) {
            continue;
        }
        if (i == KEYS) {
            return apr_psprintf(p, "there is no '%s'", item);
        }
        if (given[i]) {
            return apr_psprintf(p, "'%s' is given twice", item);
        }
        /* Prometheus writes "metrics=" for a parameter without a value. */
        if (keys[i].has_value ? !value : value && *value) {
            return apr_psprintf(p, "'%s' takes %s value", item,
                                keys[i].has_value ? "a" : "no");
        }
        if (value && ap_unescape_urlencoded(value)) {
            return apr_psprintf(p, "the value of '%s' is badly encoded", item);
        }
        given[i] = value ? value : "";
    }
    return NULL;
}

static const char *value_of(const given_t given, const char *key)
{
    int i;

    for (i = 0; i < KEYS; i++) {
        if (!strcmp(keys[i].key, key)) {
            return given[i];
        }
    }
    return NULL;
}

static const char *check_views(const given_t given, show_e show,
                               apr_pool_t *p)
{
    int i;

    for (i = 0; i < KEYS; i++) {
        if (given[i] && !(keys[i].views & IN(show))) {
            return apr_psprintf(p, "'%s' does not go with the rest",
                                keys[i].key);
        }
    }
    return NULL;
}

static const char *read_page(const char *text, int *page)
{
    apr_size_t len = strlen(text);

    if (!len || len > 6 || strspn(text, "0123456789") != len) {
        return "'page' is no number";
    }
    *page = atoi(text);
    return *page ? NULL : "pages are counted from 1";
}

static show_e view_of(const given_t given)
{
    static const struct {
        const char *key;
        show_e show;
    } views[] = { { "json", SHOW_JSON }, { "metrics", SHOW_METRICS },
                  { "auto", SHOW_AUTO }, { "der", SHOW_DER },
                  { "token", SHOW_TOKEN } };
    apr_size_t i;

    for (i = 0; i < sizeof(views) / sizeof(*views); i++) {
        if (value_of(given, views[i].key)) {
            return views[i].show;
        }
    }
    return SHOW_HTML;
}

static int is_one_of(const char *text, const char *a, const char *b)
{
    return !strcmp(text, a) || !strcmp(text, b);
}

/* Which certificates are wanted.
 * @return NULL, or what is wrong */
static const char *read_filters(const given_t given, query_t *query)
{
    const char *show = value_of(given, "show");
    const char *state = value_of(given, "state");
    const char *words = value_of(given, "q");

    query->words = words ? words : "";
    query->serial = value_of(given, "serial");
    query->state = state && *state ? staple_state_of_name(state)
                                   : STAPLE_STATES;
    if (state && *state && query->state == STAPLE_STATES) {
        return "'state' is none of the states";
    }
    if (show && !is_one_of(show, "attention", "all")) {
        return "'show' is neither attention nor all";
    }
    query->only_attention = show && !strcmp(show, "attention");
    return NULL;
}

/* What else the page of one certificate shows. */
static const char *read_action(const given_t given, query_t *query)
{
    query->ask = value_of(given, "ask");
    query->done = value_of(given, "done");
    if (query->ask && strcmp(query->ask, "forget")) {
        return "'ask' is not forget";
    }
    return query->done && !is_one_of(query->done, "refresh", "forget")
           ? "'done' is neither refresh nor forget" : NULL;
}

const char *staple_status_read_query(request_rec *r, query_t *query)
{
    char *args = apr_pstrdup(r->pool, r->args ? r->args : "");
    given_t given = { NULL };
    const char *wrong = split_query(args, given, r->pool);
    const char *page = value_of(given, "page");

    memset(query, 0, sizeof(*query));
    query->page = 1;
    query->show = view_of(given);
    query->id = value_of(given, query->show == SHOW_DER ? "der" : "id");
    query->has_detail = value_of(given, "detail") != NULL;
    if (!wrong) {
        wrong = check_views(given, query->show, r->pool);
    }
    if (!wrong) {
        wrong = read_filters(given, query);
    }
    if (!wrong) {
        wrong = read_action(given, query);
    }
    return wrong || !page ? wrong : read_page(page, &query->page);
}

const char *staple_status_queries(apr_pool_t *p)
{
    const char *text = "";
    int i;

    for (i = 0; i < KEYS; i++) {
        text = apr_psprintf(p, "%s  %-8s %s\n", text, keys[i].key,
                            keys[i].meaning);
    }
    return text;
}

const char *staple_status_link(const query_t *query, staple_state_e state,
                               int only_attention, int page, apr_pool_t *p)
{
    return apr_psprintf(p, "?q=%s&amp;show=%s&amp;state=%s&amp;page=%d",
                        ap_escape_urlencoded(p, query->words),
                        only_attention ? "attention" : "all",
                        state == STAPLE_STATES ? "" : staple_state_name(state),
                        page);
}
