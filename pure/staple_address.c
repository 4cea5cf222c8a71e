/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * IP addresses as values, see include/staple_address.h for the contract. What
 * does not live here: which of them may be asked (staple_deny), and what a name
 * stands for (the fetch engine).
 */

#include "staple_address.h"

#include <arpa/inet.h>
#include <string.h>

#include <apr_strings.h>

/* Where the four bytes of an IPv4 address stand. */
#define IPV4_AT 12

static const unsigned char mapped[IPV4_AT] = { [10] = 0xff, [11] = 0xff };

int staple_address_read(unsigned char bytes[STAPLE_ADDRESS_LEN],
                        const char *text)
{
    if (inet_pton(AF_INET6, text, bytes) == 1) {
        return STAPLE_ADDRESS_BITS;
    }
    memcpy(bytes, mapped, sizeof(mapped));
    return inet_pton(AF_INET, text, bytes + IPV4_AT) == 1
           ? STAPLE_ADDRESS_IPV4_BITS : 0;
}

int staple_address_is_ipv4(const unsigned char bytes[STAPLE_ADDRESS_LEN])
{
    return !memcmp(bytes, mapped, sizeof(mapped));
}

const char *staple_address_text(const unsigned char bytes[STAPLE_ADDRESS_LEN],
                                apr_pool_t *p)
{
    char text[INET6_ADDRSTRLEN];

    if (staple_address_is_ipv4(bytes)) {
        inet_ntop(AF_INET, bytes + IPV4_AT, text, sizeof(text));
    }
    else {
        inet_ntop(AF_INET6, bytes, text, sizeof(text));
    }
    return apr_pstrdup(p, text);
}
