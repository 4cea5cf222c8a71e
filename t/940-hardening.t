# Licensed under the Apache License, Version 2.0; see LICENSE.

# What is built by default is hardened: the ELF files of the module and of
# staplectl are read, and have what the compiler and the linker were told.

use strict;
use warnings;

use FindBin;
use Test::More;

my $build = $ENV{STAPLE_BUILDDIR} // "$FindBin::Bin/..";
my $flags = $ENV{STAPLE_HARDENING} // '';
my %file = (
    'mod_staple.so' => $ENV{STAPLE_MODULE} // "$build/.libs/mod_staple.so",
    'staplectl'     => "$build/staplectl/staplectl",
);

plan skip_all => 'built with --disable-hardening, or not by make check'
    if $flags !~ /-z,now/;
plan skip_all => 'no readelf' if system('readelf --version >/dev/null 2>&1');

sub elf
{
    my ($path, @options) = @_;

    open(my $out, '-|', 'readelf', '-W', @options, $path) or die "readelf: $!";
    local $/;
    return scalar(<$out>) // '';
}

for my $name (sort keys %file) {
    my $path = $file{$name};
    # libtool's wrapper of a program that is linked with a library of ours
    $path =~ s{([^/]+)$}{.libs/$1} if -e $path =~ s{([^/]+)$}{.libs/$1}r;
    my $segments = elf($path, '-l');

    like($segments, qr/GNU_RELRO/, "$name: relocations become read-only");
    like(elf($path, '-d'), qr/BIND_NOW|FLAGS_1.*\bNOW\b/,
         "$name: all symbols are bound at the start");
    like($segments, qr/GNU_STACK\s.*\sRW\s/, "$name: the stack is no code");
    unlike($segments, qr/LOAD\s.*\sRWE\s/, "$name: nothing is writable code");
    like(elf($path, '-h'), qr/Type:\s+DYN/, "$name: position-independent");

    my $symbols = elf($path, '-s', '--dyn-syms');
    SKIP: {
        skip "$name: the compiler has no stack protector", 1
            if $flags !~ /-fstack-protector-strong/;
        like($symbols, qr/__stack_chk_fail/, "$name: stack protector");
    }
    SKIP: {
        skip "$name: not fortified: sanitizers, coverage or no optimization", 1
            if $flags !~ /_FORTIFY_SOURCE=[23]/;
        like($symbols, qr/\b__\w+_chk\b/, "$name: fortified");
    }
}

# The linked file claims it only if the C library's start files do, too, which
# is the system's affair; so the objects are asked.
SKIP: {
    skip 'no CET and no BTI for this processor', 2
        if $flags !~ /-fcf-protection|-mbranch-protection/;
    my @objects = grep { /([^\/]+)\.o$/ && -e "$FindBin::Bin/../$1.c" }
        glob("'$build'/.libs/*.o");

    cmp_ok(scalar @objects, '>', 5, 'objects were found');
    is_deeply([grep { elf($_, '-n') !~ /feature: .*(?:IBT|BTI)/ } @objects], [],
              'jumps only go where they are expected');
}

done_testing();
