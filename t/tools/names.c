/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * For LD_PRELOAD, in httpd: a resolver that answers out of a small file, so
 * that a test can put several addresses behind one name, let a look-up hang,
 * and change its mind while the server runs. STAPLE_NAMES is the file; it is
 * read at each look-up, so replace it by rename(). A line is a name and what
 * a look-up of it finds:
 *
 *   two.test     127.0.0.2 127.0.0.3     these, in this order
 *   turn.test    turn 127.0.0.2 127.0.0.3
 *                                        the first one is another each time
 *   slow.test    after 300 127.0.0.2     that many milliseconds later
 *   stuck.test   hang                    nothing, until the line changes
 *   gone.test    fail noname             EAI_NONAME; also again, fail
 *
 * "turn" and "after" may stand together. Whatever is not in the file is looked
 * up by the system. If there is a file STAPLE_NAMES.log, each look-up of a
 * name in the file adds a line there: the name, and the uid of who looked.
 *
 * The one idea: addresses are literals for the system's getaddrinfo(), and its
 * answers are strung together, so freeaddrinfo() stays the system's too.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* RTLD_NEXT */
#endif

#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <sys/socket.h>

#define LINE_LEN 1024
#define WORDS_MAX 32
#define TURNS 64
#define PAUSE 20 /* milliseconds between two looks at a line that hangs */

/* The real one of a function that is defined here. */
#define REAL(name) ((__typeof__(&(name)))dlsym(RTLD_NEXT, #name))

/* A line of the file, cut into words; words[0] is the name. */
typedef struct entry_t {
    char line[LINE_LEN];
    char *words[WORDS_MAX + 1]; /* NULL behind the last */
} entry_t;

static void pause_for(long ms)
{
    struct timespec span = { ms / 1000, ms % 1000 * 1000000 };

    nanosleep(&span, NULL);
}

static void cut_words(entry_t *entry)
{
    char *rest = entry->line, *word;
    int count = 0;

    while (count < WORDS_MAX
           && (word = strtok_r(rest, " \t\n", &rest)) != NULL) {
        entry->words[count++] = word;
    }
    entry->words[count] = NULL;
}

/* The next line that is neither empty nor a comment; 0: there is none. */
static int next_entry(FILE *file, entry_t *entry)
{
    while (fgets(entry->line, sizeof(entry->line), file)) {
        cut_words(entry);
        if (entry->words[0] && entry->words[0][0] != '#') {
            return 1;
        }
    }
    return 0;
}

static FILE *open_names(void)
{
    const char *path = getenv("STAPLE_NAMES");

    return path ? fopen(path, "re") : NULL;
}

/* What the file says about a name; 0: nothing. */
static int find_name(const char *name, entry_t *entry)
{
    FILE *file = open_names();
    int is_found = 0;

    if (!file) {
        return 0;
    }
    while (!is_found && next_entry(file, entry)) {
        is_found = !strcasecmp(entry->words[0], name);
    }
    fclose(file);
    return is_found;
}

static void note(const char *name)
{
    char path[LINE_LEN], line[LINE_LEN];
    int fd, len;
    ssize_t ignored;

    snprintf(path, sizeof(path), "%s.log", getenv("STAPLE_NAMES"));
    fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd >= 0) {
        len = snprintf(line, sizeof(line), "%s %d\n", name, (int)geteuid());
        ignored = write(fd, line, (size_t)len);
        (void)ignored;
        close(fd);
    }
}

/* How often this process has had a turn of the name before. */
static unsigned next_turn(const char *name)
{
    static atomic_uint turns[TURNS];
    unsigned which = 0;

    while (*name) {
        which = which * 31 + (unsigned char)*name++;
    }
    return atomic_fetch_add(&turns[which % TURNS], 1);
}

static int is_word(const char *word, const char *wanted)
{
    return word && !strcmp(word, wanted);
}

/* Until the file says something else about the name. */
static int wait_while_hanging(entry_t *entry, const char *name)
{
    while (is_word(entry->words[1], "hang")) {
        pause_for(PAUSE);
        if (!find_name(name, entry)) {
            return 0;
        }
    }
    return 1;
}

static int error_of(const char *word)
{
    if (is_word(word, "again")) {
        return EAI_AGAIN;
    }
    return is_word(word, "fail") ? EAI_FAIL : EAI_NONAME;
}

/* The addresses, beginning with the first-th, as one list. */
static int string_together(char *const *addresses, unsigned first,
                           const char *service, const struct addrinfo *hints,
                           struct addrinfo **list)
{
    struct addrinfo literal = { 0 };
    struct addrinfo **end = list;
    unsigned i, count = 0;

    if (hints) {
        literal = *hints;
    }
    literal.ai_flags = (literal.ai_flags | AI_NUMERICHOST) & ~AI_ADDRCONFIG;
    while (addresses[count]) {
        count++;
    }
    *list = NULL;
    for (i = 0; i < count; i++) {
        if (!REAL(getaddrinfo)(addresses[(first + i) % count], service,
                               &literal, end)) {
            while (*end) {
                end = &(*end)->ai_next;
            }
        }
    }
    return *list ? 0 : EAI_NONAME;
}

static int answer(const entry_t *entry, const char *service,
                  const struct addrinfo *hints, struct addrinfo **list)
{
    char *const *word = entry->words + 1;
    unsigned first = 0;

    if (is_word(word[0], "fail")) {
        return error_of(word[1]);
    }
    if (is_word(word[0], "after") && word[1]) {
        pause_for(atol(word[1]));
        word += 2;
    }
    if (is_word(word[0], "turn")) {
        first = next_turn(entry->words[0]);
        word++;
    }
    return string_together(word, first, service, hints, list);
}

int getaddrinfo(const char *host, const char *service,
                const struct addrinfo *hints, struct addrinfo **list)
{
    entry_t entry;
    int is_literal = hints && (hints->ai_flags & AI_NUMERICHOST);

    if (!host || is_literal || !find_name(host, &entry)) {
        return REAL(getaddrinfo)(host, service, hints, list);
    }
    note(entry.words[0]);
    if (!wait_while_hanging(&entry, host)) {
        return EAI_NONAME;
    }
    return answer(&entry, service, hints, list);
}

/* The first name in the file that has the address; 0: there is none. */
static int find_address(const struct sockaddr *address, entry_t *entry)
{
    const void *bytes = address->sa_family == AF_INET6
        ? (const void *)&((const struct sockaddr_in6 *)address)->sin6_addr
        : (const void *)&((const struct sockaddr_in *)address)->sin_addr;
    char text[INET6_ADDRSTRLEN];
    FILE *file = open_names();
    int i, is_found = 0;

    if (!file) {
        return 0;
    }
    if (inet_ntop(address->sa_family, bytes, text, sizeof(text))) {
        while (!is_found && next_entry(file, entry)) {
            for (i = 1; entry->words[i] && !is_found; i++) {
                is_found = !strcmp(entry->words[i], text);
            }
        }
    }
    fclose(file);
    return is_found;
}

int getnameinfo(const struct sockaddr *address, socklen_t len, char *host,
                socklen_t host_len, char *service, socklen_t service_len,
                int flags)
{
    entry_t entry;

    if (!host || (flags & NI_NUMERICHOST) || !find_address(address, &entry)) {
        return REAL(getnameinfo)(address, len, host, host_len, service,
                                 service_len, flags);
    }
    if (strlen(entry.words[0]) >= host_len) {
        return EAI_OVERFLOW;
    }
    strcpy(host, entry.words[0]);
    return service ? REAL(getnameinfo)(address, len, NULL, 0, service,
                                       service_len, flags) : 0;
}
