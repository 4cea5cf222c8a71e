# Licensed under the Apache License, Version 2.0; see LICENSE.

# A cold start with a hundred certificates and a healthy responder: the very
# first handshake is stapled, every time, and once the ring is warm nobody is
# asked and nothing is waited for. Visitors knock all the while.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

use Time::HiRes qw(time);

# With the sanitizers a start takes long.
my ($runs, $count) = $ENV{STAPLE_PRELOAD} ? (4, 10) : (20, 100);
my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my @leaves = map { $ca->leaf(name => "host$_.test", ocsp => $responder->url) }
    1 .. $count;
# The wait ends with the last response; what it takes is t/bench/run's affair.
my $httpd = Staple::Httpd->new(conf   => stapling('StapleWarmup 20'),
                               vhosts => [map { { cert => $_ } } @leaves]);
my $ring = $httpd->dir . '/logs/stapling_cache';
my $visitors = Staple::Visitors->new($ca, [$httpd],
                                     names => [map { $_->{name} } @leaves]);
my (@staples, @asked);

for my $run (1 .. $runs) {
    unlink $ring;
    $responder->tell('reset-counters');
    $httpd->start;
    # Another one each time; `start` connects only when the start is over.
    my $got = handshake($httpd, name => $leaves[$run * 7 % $count]{name});
    push @staples, $got->{staple};
    wait_for(sub { $responder->count >= $count });
    push @asked, $responder->count;
    $httpd->stop if $run < $runs;
}
is(scalar(grep { $_ eq 'good' } @staples), $runs,
   "the first handshake of $runs cold starts is stapled")
    or diag("@staples");
is("@asked", join(' ', ($count) x $runs), 'each certificate is asked for once');

ok($visitors->wait_for_more($count), 'visitors came all the while');
my @odd = grep { !/failed: / } $visitors->stop->odd;
ok(!@odd, 'and who was let in had a true staple') or diag(join "\n", @odd);

ok($httpd->stop, 'httpd stops');
$responder->tell('reset-counters');
$responder->tell('hang-before');
my $began = time;
$httpd->start;
is(handshake($httpd, name => 'host7.test')->{staple}, 'good',
   'a warm start is stapled at once');
diag(sprintf "warm start with $count certificates, first staple after %.2f s",
     time - $began);
is($responder->count, 0, 'and nobody was asked');

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok($httpd->cut_off);

done_testing;
