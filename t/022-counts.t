# Licensed under the Apache License, Version 2.0; see LICENSE.

# What is done for each certificate, handshake and response, and again and again
# where there is nothing to do, in instructions and in bytes: these can be
# repeated, which times cannot. The figures are in docs/performance.md.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Work qw(build_dir);

plan(skip_all => 'no valgrind here')
    if system('valgrind --version >/dev/null 2>&1') != 0;
plan(skip_all => 'a build with sanitizers does not run under valgrind')
    if read_file(build_dir() . '/Makefile') =~ /^STAPLE_CFLAGS =.*-fsanitize/m;

my $tools = build_dir() . '/t/tools';

# The instructions within some functions.
sub instructions
{
    my ($functions, $program, @args) = @_;
    my $toggles = join ' ', map { "--toggle-collect=$_" } @$functions;
    my $said = `valgrind --tool=callgrind $toggles \\
                --callgrind-out-file=/dev/null $tools/$program @args 2>&1`;

    return $said =~ /Collected : (\d+)/ ? $1 : die $said;
}

# What the last argument's one more costs, when there is much of it: what comes
# but once is in both counts.
sub more
{
    my ($functions, $few, $many, @args) = @_;

    return (instructions($functions, @args, $many)
            - instructions($functions, @args, $few)) / ($many - $few);
}

# The bytes that something takes.
sub bytes
{
    my (@args) = @_;
    my $said = `$tools/counts @args`;

    return $said =~ /^(\d+)$/ ? $1 : die "no bytes: $said";
}

sub at_most
{
    my ($count, $bound, $what) = @_;

    diag(sprintf '%s: %d', $what, $count);
    return cmp_ok($count, '<=', $bound, $what);
}

my @add = ['staple_cert_add'];
my $few = instructions(@add, 'certs', 10, 0);
my $certificate = (instructions(@add, 'certs', 30, 0) - $few) / 20;

cmp_ok($certificate, '>', 1000, 'they are counted');
at_most($certificate, 300_000, 'a start: a certificate');
at_most((instructions(@add, 'certs', 10, 1000) - $few) / 1000, 2_000,
        'a start: a further virtual host of a known certificate');

# Twice as many hosts, sorting and all.
my @whole = (['staple_cert_add', 'staple_cert_registry_finish'], 'certs', 1);
my $hosts = instructions(@whole, 4_000);
my $twice = instructions(@whole, 8_000);
cmp_ok($twice / $hosts, '<=', 2.1,
       sprintf 'a start: 8,000 hosts of a certificate to 4,000: %.2f',
       $twice / $hosts);

my $none = bytes('registry', 100, 0);
at_most((bytes('registry', 2100, 0) - $none) / 2000, 1024,
        'bytes: a certificate');
at_most((bytes('registry', 100, 20_000) - $none) / 20_000, 100,
        'bytes: a further virtual host');
at_most((bytes('waiting', 2100) - bytes('waiting', 100)) / 2000, 600,
        'bytes: a certificate that waits for its turn, in the refresher');

my @hook = ['staple_cert_find', 'staple_handshake_answer'];
for my $case ([500, 1_500, 1_000], [2048, 2_200, 1_400],
              [8192, 4_500, 3_300]) {
    my ($size, $hook, $read) = @$case;

    at_most(more(@hook, 10, 210, 'counts', 'handshake', $size), $hook,
            "a handshake with $size bytes");
    at_most(more(['staple_cache_read'], 10, 210, 'counts', 'handshake', $size),
            $read, "... of which, reading the ring");
}

# Of that, OpenSSL's check of one signature is nearly all: some 920,000.
at_most(more(['staple_rules_is_believed'], 2, 12, 'counts', 'judge'),
        1_300_000, 'a response is judged, P-256');

# The refresher takes ten steps a second, and its copy of the ring one round.
for my $case (['staple_refresh_step', 'idle', 600, 'a step with nothing to do'],
              ['staple_cache_copy_round', 'copy', 1_500,
               'a round of the copy with nothing to do']) {
    my ($function, $word, $bound, $what) = @$case;
    my $small = more([$function], 1, 101, 'counts', $word, 100);
    my $large = more([$function], 1, 101, 'counts', $word, 500);

    cmp_ok($small, '>', 50, "$what is counted");
    at_most($large, $bound, "$what, with 500 certificates");
    cmp_ok(abs($large / $small - 1), '<=', 0.1,
           sprintf '... and within a tenth the same with 100: %d', $small);
}

done_testing;
