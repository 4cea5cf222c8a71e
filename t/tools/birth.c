/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * For LD_PRELOAD, in httpd: what may happen to the refresher at its birth. It
 * is known by the name that it gives itself, which is the first thing that it
 * does. STAPLE_BIRTH is a file; its first word says what happens then:
 *
 *   hang         nothing, for ever, as if a lock was held at the fork
 *   late         nothing for a second and a half, as on a very busy machine
 *   die          the process ends
 *   privileged   setuid() says yes, and does nothing
 *   verify-late  X509_verify() takes two seconds
 *   groups-late  getgrouplist() takes twenty, as where a name service is slow
 *
 * and anything else changes nothing. Each birth adds a line to
 * STAPLE_BIRTH.log.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* RTLD_NEXT */
#endif

#include <dlfcn.h>
#include <fcntl.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sys/prctl.h>

#include <openssl/x509.h>

/* The real one of a function that is defined here. */
#define REAL(name) ((__typeof__(&(name)))dlsym(RTLD_NEXT, #name))

static int is_privileged, is_verify_late, are_groups_late;

static void note_birth(const char *path)
{
    char log[4096], line[32];
    int fd, len;

    snprintf(log, sizeof(log), "%s.log", path);
    len = snprintf(line, sizeof(line), "%d\n", (int)getpid());
    fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd >= 0) {
        if (write(fd, line, (size_t)len) != len) {
            abort();
        }
        close(fd);
    }
}

static void read_word(const char *path, char word[32])
{
    FILE *in = fopen(path, "re");

    word[0] = '\0';
    if (in) {
        if (fscanf(in, "%31s", word) != 1) {
            word[0] = '\0';
        }
        fclose(in);
    }
}

static void be_born(const char *path)
{
    char word[32];

    note_birth(path);
    read_word(path, word);
    if (!strcmp(word, "die")) {
        _exit(1);
    }
    if (!strcmp(word, "late")) {
        nanosleep(&(struct timespec){ 1, 500000000 }, NULL);
    }
    while (!strcmp(word, "hang")) {
        pause();
    }
    is_privileged = !strcmp(word, "privileged");
    is_verify_late = !strcmp(word, "verify-late");
    are_groups_late = !strcmp(word, "groups-late");
}

int prctl(int option, ...)
{
    const char *path = getenv("STAPLE_BIRTH");
    unsigned long a[4];
    va_list ap;
    int i, rc;

    va_start(ap, option);
    for (i = 0; i < 4; i++) {
        a[i] = va_arg(ap, unsigned long);
    }
    va_end(ap);
    rc = REAL(prctl)(option, a[0], a[1], a[2], a[3]);
    if (path && option == PR_SET_NAME
        && !strcmp((const char *)a[0], "staple-refresh")) {
        be_born(path);
    }
    return rc;
}

int setuid(uid_t uid)
{
    return is_privileged ? 0 : REAL(setuid)(uid);
}

int X509_verify(X509 *x, EVP_PKEY *key)
{
    if (is_verify_late) {
        nanosleep(&(struct timespec){ 2, 0 }, NULL);
    }
    return REAL(X509_verify)(x, key);
}

int getgrouplist(const char *user, gid_t group, gid_t *groups, int *count)
{
    if (are_groups_late) {
        nanosleep(&(struct timespec){ 20, 0 }, NULL);
    }
    return REAL(getgrouplist)(user, group, groups, count);
}
