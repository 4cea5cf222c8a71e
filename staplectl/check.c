/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * staplectl: how bad is it? The state of an entry says so, and limits to what
 * is left of a response's validity may say worse. Told as monitoring plug-ins
 * do it.
 *
 * The one idea: entries that are in the same state for the same reason are one
 * line, so that an outage of a responder is told in a line and not in 300.
 */

#include "staplectl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <apr_hash.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include "staple_words.h"

/* The longest span that makes sense: ten years. */
#define SPAN_MAX ((apr_int64_t)315360000)

int staplectl_limit_parse(staplectl_limit_t *limit, const char *text)
{
    static const struct {
        const char *unit;
        int seconds;
    } units[] = { { "", 1 }, { "s", 1 }, { "m", 60 }, { "min", 60 },
                  { "h", 3600 }, { "d", 86400 } };
    apr_int64_t number;
    apr_size_t i;
    char *end;

    limit->is_set = 1;
    number = apr_isdigit(*text) ? apr_strtoi64(text, &end, 10) : -1;
    if (number < 0 || number > SPAN_MAX) {
        return 0;
    }
    if (!strcmp(end, "%")) {
        limit->span = 0;
        limit->percent = (int)number;
        return number <= 100;
    }
    for (i = 0; i < sizeof(units) / sizeof(*units); i++) {
        if (!strcmp(end, units[i].unit)
            && number <= SPAN_MAX / units[i].seconds) {
            limit->span = apr_time_from_sec(number * units[i].seconds);
            limit->percent = -1;
            return 1;
        }
    }
    return 0;
}

/* ----- severity ----- */

void staplectl_limits_init(staplectl_limits_t *limits)
{
    int i;

    memset(limits, 0, sizeof(*limits));
    for (i = 0; i < STAPLE_STATES; i++) {
        limits->severities[i] = (int)staple_state_severity((staple_state_e)i);
    }
}

int staplectl_severity_parse(staplectl_limits_t *limits, const char *text)
{
    const char *equals = strchr(text, '=');
    char name[32];
    int state, severity;

    if (!equals || equals - text >= (int)sizeof(name)) {
        return 0;
    }
    apr_cpystrn(name, text, (apr_size_t)(equals - text) + 1);
    state = (int)staple_state_of_name(name);
    severity = STAPLE_SEVERITY_OK;
    while (severity <= STAPLE_SEVERITY_CRITICAL
           && strcmp(staple_severity_name((staple_severity_e)severity),
                     equals + 1)) {
        severity++;
    }
    if (state == STAPLE_STATES || severity > STAPLE_SEVERITY_CRITICAL) {
        return 0;
    }
    limits->severities[state] = severity;
    return 1;
}

/* For how long the response is served; 0: none is. */
static apr_interval_time_t left_of(const staplectl_entry_t *entry,
                                   apr_time_t now)
{
    const staple_view_t *view = &entry->view;

    return view->is_stapled && view->numbers.serve_until > now
           ? view->numbers.serve_until - now : 0;
}

/* The span that a limit is for an entry. */
static apr_interval_time_t span_of(const staplectl_limit_t *limit,
                                   const staplectl_entry_t *entry)
{
    const staple_cert_numbers_t *numbers = &entry->view.numbers;

    return limit->percent < 0
           ? limit->span
           : (numbers->serve_until - numbers->this_update) / 100
             * limit->percent;
}

static int is_below(const staplectl_limit_t *limit,
                    const staplectl_entry_t *entry, apr_time_t now)
{
    return limit->is_set && entry->view.is_stapled
           && left_of(entry, now) < span_of(limit, entry);
}

/* How bad it is by what is left alone. */
static staple_severity_e severity_of_rest(const staplectl_entry_t *entry,
                                          const staplectl_limits_t *limits,
                                          apr_time_t now)
{
    if (is_below(&limits->critical, entry, now)) {
        return STAPLE_SEVERITY_CRITICAL;
    }
    return is_below(&limits->warning, entry, now) ? STAPLE_SEVERITY_WARNING
                                                  : STAPLE_SEVERITY_OK;
}

/* How bad it is whatever is left. */
static staple_severity_e severity_of_state(const staplectl_entry_t *entry,
                                           const staplectl_limits_t *limits)
{
    int severity = limits->severities[entry->view.state];

    return severity == STAPLE_SEVERITY_OK && entry->is_old
           ? STAPLE_SEVERITY_WARNING : (staple_severity_e)severity;
}

staple_severity_e staplectl_severity_of(const staplectl_entry_t *entry,
                                        const staplectl_limits_t *limits,
                                        apr_time_t now)
{
    staple_severity_e state = severity_of_state(entry, limits);
    staple_severity_e rest = severity_of_rest(entry, limits, now);

    return rest > state ? rest : state;
}

/* A server at work writes its ring's file every ten seconds, whatever happens;
 * a restart takes less than this. */
#define IDLE_MAX apr_time_from_sec(300)

staple_severity_e staplectl_severity_of_ring(const staplectl_ring_t *ring,
                                             apr_time_t now)
{
    return ring && ring->report.ring_written
           && now - ring->report.ring_written > IDLE_MAX
           ? STAPLE_SEVERITY_WARNING : STAPLE_SEVERITY_OK;
}

/* ----- what is said ----- */

/* A "|" begins performance data, in any line; names and causes may have one. */
static void say(const char *text)
{
    for (; *text; text++) {
        putchar(*text == '|' ? '/' : *text);
    }
}

/* Entries of which the same is said. */
typedef struct group_t {
    const char *words;
    const char *alone;         /* what is said if there is one name only */
    apr_array_header_t *names; /* const char * */
} group_t;

/* What a check came to. */
typedef struct sum_t {
    staple_severity_e worst;
    int trouble;                     /* entries that are not well */
    const staplectl_entry_t *first;  /* whose response ends first */
    apr_array_header_t *groups;      /* group_t *, in the order of entries */
    apr_hash_t *by_words;
} sum_t;

/* @param more what is said of one entry alone */
static const char *problem_text(const staple_view_t *view, const char *more,
                                apr_pool_t *p)
{
    const char *peer = *view->peer ? apr_pstrcat(p, " (", view->peer, ")",
                                                 NULL) : "";
    const char *words = apr_pstrcat(p, staple_state_text(view->state),
                                    *view->cause ? ": " : "", view->cause,
                                    view->exchange.failing ? peer : "", more,
                                    NULL);

    return *view->advice.who
           ? apr_pstrcat(p, words, "; look at ", view->advice.who, ": ",
                         view->advice.remedy, NULL)
           : words;
}

/* The limit that makes an entry worse than its state does, as the end of a
 * phrase; "": none does. */
static const char *limit_text(const staplectl_entry_t *entry,
                              const staplectl_limits_t *limits, apr_time_t now)
{
    staple_severity_e rest = severity_of_rest(entry, limits, now);

    if (rest <= severity_of_state(entry, limits)) {
        return "";
    }
    return rest == STAPLE_SEVERITY_CRITICAL
           ? " less than the limit of --critical"
           : " less than the limit of --warning";
}

/* An entry of which nothing is said with others. */
static const char *alone_text(const staplectl_entry_t *entry,
                              const staplectl_limits_t *limits, apr_time_t now,
                              apr_pool_t *p)
{
    const staple_view_t *view = &entry->view;
    const char *limit = limit_text(entry, limits, now);
    const char *until = view->is_stapled
        ? apr_pstrcat(p, ", valid for another ",
                      staple_words_span_text(left_of(entry, now), p),
                      *limit ? "," : "", limit, NULL)
        : "";

    return apr_pstrcat(p, view->name, ": ", problem_text(view, until, p), NULL);
}

static group_t *make_group(sum_t *sum, const char *words, const char *alone,
                           apr_pool_t *p)
{
    group_t *group = apr_palloc(p, sizeof(*group));

    group->words = words;
    group->alone = alone;
    group->names = apr_array_make(p, 4, sizeof(const char *));
    apr_hash_set(sum->by_words, words, APR_HASH_KEY_STRING, group);
    APR_ARRAY_PUSH(sum->groups, group_t *) = group;
    return group;
}

/* Where a limit is the reason, each name has what is left. */
static void add_to_group(sum_t *sum, const staplectl_entry_t *entry,
                         const staplectl_limits_t *limits, apr_time_t now,
                         apr_pool_t *p)
{
    const char *limit = limit_text(entry, limits, now);
    const char *name = entry->view.name;
    const char *words = problem_text(&entry->view, *limit
                                     ? apr_pstrcat(p, ", valid for", limit,
                                                   NULL) : "", p);
    group_t *group = apr_hash_get(sum->by_words, words, APR_HASH_KEY_STRING);

    if (!group) {
        group = make_group(sum, words, alone_text(entry, limits, now, p), p);
    }
    APR_ARRAY_PUSH(group->names, const char *)
        = *limit ? apr_pstrcat(p, name, " (",
                               staple_words_span_text(left_of(entry, now), p),
                               " left)", NULL)
                 : name;
}

static void add_entry(sum_t *sum, const staplectl_entry_t *entry,
                      const staplectl_limits_t *limits, apr_time_t now,
                      apr_pool_t *p)
{
    staple_severity_e severity = staplectl_severity_of(entry, limits, now);

    if (severity > sum->worst) {
        sum->worst = severity;
    }
    if (entry->view.state != STAPLE_STATE_NOT_APPLICABLE
        && (!sum->first || left_of(entry, now) < left_of(sum->first, now))) {
        sum->first = entry;
    }
    if (severity != STAPLE_SEVERITY_OK) {
        sum->trouble++;
        add_to_group(sum, entry, limits, now, p);
    }
}

/* A range of monitoring plug-ins: alert when less is left than this. */
static const char *range_text(const staplectl_limit_t *limit,
                              const staplectl_entry_t *entry, apr_pool_t *p)
{
    return limit->is_set
           ? apr_psprintf(p, "%" APR_TIME_T_FMT ":",
                          apr_time_sec(span_of(limit, entry))) : "";
}

static void print_performance(const sum_t *sum, int count,
                              const staplectl_limits_t *limits,
                              apr_time_t now, apr_pool_t *p)
{
    printf(" | certificates=%d;;;0 trouble=%d;;;0;%d", count, sum->trouble,
           count);
    if (sum->first) {
        printf(" left=%" APR_TIME_T_FMT "s;%s;%s;0",
               apr_time_sec(left_of(sum->first, now)),
               range_text(&limits->warning, sum->first, p),
               range_text(&limits->critical, sum->first, p));
    }
    printf("\n");
}

/* Names that are told of a group. */
#define NAMES_SHOWN 5

static const char *group_text(const group_t *group, apr_pool_t *p)
{
    const char *const *names = (const char *const *)group->names->elts;
    int count = group->names->nelts, i;
    const char *text;

    if (count == 1) {
        return group->alone;
    }
    text = apr_psprintf(p, "%d certificates: %s:", count, group->words);
    for (i = 0; i < count && i < NAMES_SHOWN; i++) {
        text = apr_pstrcat(p, text, i ? ", " : " ", names[i], NULL);
    }
    return count > NAMES_SHOWN
           ? apr_psprintf(p, "%s and %d more", text, count - NAMES_SHOWN)
           : text;
}

static const char *summary_text(const sum_t *sum,
                                const apr_array_header_t *entries,
                                const staplectl_limits_t *limits,
                                apr_time_t now, apr_pool_t *p)
{
    int count = entries->nelts;

    if (count == 1) {
        return alone_text(&APR_ARRAY_IDX(entries, 0, staplectl_entry_t),
                          limits, now, p);
    }
    return sum->trouble
           ? apr_psprintf(p, "%d of %d certificates need attention",
                          sum->trouble, count)
           : apr_psprintf(p, "%d certificates, all is well", count);
}

static const char *idle_text(const staplectl_ring_t *ring, apr_time_t now,
                             apr_pool_t *p)
{
    if (staplectl_severity_of_ring(ring, now) == STAPLE_SEVERITY_OK) {
        return "";
    }
    return apr_pstrcat(p, ring->path, " was written ",
                       staple_words_distance_text(ring->report.ring_written,
                                                  now, p),
                       ", so no server writes it: httpd or its refresher does "
                       "not run, or it writes another file, or none (STP0105, "
                       "STP0123 and STP0140 in its error log); ", NULL);
}

int staplectl_check(const staplectl_ring_t *ring,
                    const apr_array_header_t *entries,
                    const staplectl_limits_t *limits, apr_time_t now,
                    apr_pool_t *p)
{
    static const char *const words[] = { "OK", "WARNING", "CRITICAL" };
    int count = entries->nelts, i;
    sum_t sum;

    memset(&sum, 0, sizeof(sum));
    sum.worst = staplectl_severity_of_ring(ring, now);
    sum.groups = apr_array_make(p, 4, sizeof(group_t *));
    sum.by_words = apr_hash_make(p);
    for (i = 0; i < count; i++) {
        add_entry(&sum, &APR_ARRAY_IDX(entries, i, staplectl_entry_t), limits,
                  now, p);
    }
    printf("STAPLE %s - ", words[sum.worst]);
    say(idle_text(ring, now, p));
    say(summary_text(&sum, entries, limits, now, p));
    print_performance(&sum, count, limits, now, p);
    for (i = 0; count > 1 && i < sum.groups->nelts; i++) {
        say(group_text(APR_ARRAY_IDX(sum.groups, i, group_t *), p));
        printf("\n");
    }
    return (int)sum.worst;
}
