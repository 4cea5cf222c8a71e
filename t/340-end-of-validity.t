# Licensed under the Apache License, Version 2.0; see LICENSE.

# A response is served until its nextUpdate, and not a second longer; a
# short-lived one is renewed in time as long as the responder answers.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

use Time::HiRes qw(time);
use Time::Local qw(timegm);

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $leaf = $ca->leaf(ocsp => $responder->url);
my $httpd = Staple::Httpd->new(
    conf   => stapling('SSLStaplingErrorCacheTimeout 1'),
    vhosts => [{ cert => $leaf }]);
my %month;

@month{qw(Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec)} = 0 .. 11;

# "Nov 21 07:07:14 2026 GMT" as seconds since 1970.
sub moment
{
    my ($mon, $day, $h, $m, $s, $year) =
        $_[0] =~ /^(\w+) +(\d+) (\d+):(\d+):(\d+) (\d+) GMT/ or return 0;

    return timegm($s, $m, $h, $day, $month{$mon}, $year);
}

$responder->tell('validity -1 12');
$httpd->start;
is(wait_for_staple($httpd, 'good')->{staple}, 'good', 'a response of 12 s');

my (%seen, $missing, $stale);
my $end = time + 18;
while (time < $end) {
    my $began = time;
    my $got = handshake($httpd);

    if ($got->{staple} ne 'good') { $missing++; next }
    $seen{ $got->{next_update} } = 1;
    $stale++ if moment($got->{next_update}) < int $began;
}
ok(!$missing, 'is there in every handshake of 18 seconds');
ok(!$stale, 'and never out of date');
cmp_ok(scalar keys %seen, '>=', 2, 'because it is renewed');

$responder->tell('refuse');
my $last = 0;
wait_for(sub {
    my $began = time;
    my $got = handshake($httpd);

    return 1 if $got->{staple} eq 'none';
    $last = moment($got->{next_update});
    $stale++ if $last < int $began;
    return 0;
}, 20);
ok($last && !$stale, 'the responder gone, it is served while it is valid');
is(handshake($httpd)->{staple}, 'none', 'and not after that');
cmp_ok(time, '>=', $last, '... nor given up before');

$responder->tell('listen');
is(wait_for_staple($httpd, 'good')->{staple}, 'good', 'it comes back');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/\[staple:(?:warn|error)\]/);

done_testing;
