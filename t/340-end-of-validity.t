# Licensed under the Apache License, Version 2.0; see LICENSE.

# A response is served until its nextUpdate, and not a second longer; a
# short-lived one is renewed in time as long as the responder answers.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Answer;

use Time::HiRes qw(time);

my $ca = Staple::CA->new;
my ($working, $failing) = map { Staple::Responder->new($ca) } 1 .. 2;
my $renewed = $ca->leaf(name => 'renewed.test', ocsp => $working->url);
my $ending = $ca->leaf(name => 'ending.test', ocsp => $failing->url);
my $httpd = Staple::Httpd->new(
    conf   => stapling('SSLStaplingErrorCacheTimeout 1'),
    vhosts => [{ cert => $renewed }, { cert => $ending }]);

# One handshake: the nextUpdate of what was stapled, 0 if nothing was; and notes
# what had ended before the handshake began.
my $stale;

sub end_of_staple
{
    my ($name) = @_;
    my $began = int time;
    my $got = handshake($httpd, name => $name);
    my $end = $got->{staple} eq 'good' ? moment($got->{next_update}) : 0;

    $stale++ if $end && $end < $began;
    return $end;
}

# One that ends twelve seconds after it was signed, and is not renewed.
$failing->tell('validity -1 12');
# Those of half a minute are asked for anew after seven or eight seconds, long
# before they end.
$working->tell('validity -30 30');
$httpd->start;
is(wait_for_staple($httpd, 'good', name => 'renewed.test')->{staple}, 'good',
   'one response that will be renewed');
is(wait_for_staple($httpd, 'good', name => 'ending.test')->{staple}, 'good',
   'and one that will not');
$failing->tell('refuse');

my ($last, $given_up) = (0, 0);
ok(wait_for(sub {
       my $end = end_of_staple('ending.test');

       $last = $end if $end;
       $given_up = time if !$end;
       return !$end;
   }, 40), 'the responder gone, it is not served for ever');
ok(!$stale, '... and never after its end');
cmp_ok($given_up, '>=', $last, '... nor given up before');
is(end_of_staple('ending.test'), 0, '... for good');

my (%seen, $missing);
wait_for(sub {
    my $end = end_of_staple('renewed.test');

    $seen{$end} = 1 if $end;
    $missing = 1 if !$end;
    return $missing || keys %seen >= 3;
}, 60);
ok(!$missing, 'the other one is there in every handshake');
ok(!$stale, '... never out of date');
cmp_ok(scalar keys %seen, '>=', 3, '... because it is renewed');

$failing->tell('listen');
is(wait_for_staple($httpd, 'good', name => 'ending.test')->{staple}, 'good',
   'the responder is back: stapled again');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/\[staple:(?:warn|error)\]/);

done_testing;
