# Licensed under the Apache License, Version 2.0; see LICENSE.

# Calls that fail in the refresher, in a child and, at a restart, in the
# parent: nothing crashes, nothing hangs, no staple is lost. A sample of
# t/bench/faults, which lets each of the first 500 calls of each kind fail.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $missing = Staple::Faults::missing();

plan skip_all => $missing if $missing;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my @leaves = map { $ca->leaf(name => "host$_.test",
                             ocsp => $responder->url('/', 'localhost')) }
    1 .. 4;
my @names = map { $_->{name} } @leaves;
my $faults = Staple::Faults->new;
my $httpd = Staple::Httpd->new(
    conf => stapling('SSLStaplingStandardCacheTimeout 1',
                     'SSLStaplingErrorCacheTimeout 1',
                     'SSLStaplingResponderTimeout 1'),
    preload => [$faults->library], env => { $faults->env },
    vhosts => [map { { cert => $_ } } @leaves]);

$httpd->start;
wait_for_staple($httpd, 'good', name => $_) for @names;
my $visitors = Staple::Visitors->new($ca, [$httpd], names => \@names,
                                     rate => 20);

my @sample = (
    ['refresher', 'malloc', 1], ['refresher', 'malloc', 40],
    ['refresher', 'mmap', 3], ['refresher', 'mmap', 12],
    ['refresher', 'open', 1], ['refresher', 'read', 2],
    ['refresher', 'write', 3], ['refresher', 'socket', 1],
    ['refresher', 'connect', 1], ['refresher', 'poll', 2],
    ['refresher', 'thread', 1], ['refresher', 'getaddrinfo', 1],
    ['refresher', 'getaddrinfo', 2],
    ['child', 'malloc', 5], ['parent', 'fork', 1],
);
for (@sample) {
    my ($who, $kind, $nth) = @$_;
    my %t = $faults->trial(httpd => $httpd, responder => $responder,
                           names => \@names, who => $who, kind => $kind,
                           nth => $nth, ours => $who ne 'refresher');
    my $what = "$who, $kind $nth" . ($t{fired} ? '' : ' (not reached)');

    ok($t{back}, "$what: everything goes on");
    # httpd itself aborts a process whose pools cannot grow.
    is(join("\n", $t{oom} ? () : @{ $t{crashed} }), '',
       '... and nothing crashed');
}
my @odd = grep { $_->{verdict} !~ /^(?:good|failed)/ } $visitors->stop->visits;

is(join("\n", map { "$_->{time} $_->{name} $_->{verdict}" } @odd), '',
   'no staple was missing or false');
like($httpd->error_log, qr/STP0124/,
     'a refresher that cannot prepare to look up names says so and ends');
ok($httpd->is_alive, 'the server lives');
ok($httpd->stop, 'httpd stops in good order');

done_testing;
