# Licensed under the Apache License, Version 2.0; see LICENSE.

# A certificate that expires while its responder fails is what is wrong from
# then on, and not the responder: nobody asks it about the certificate any more,
# so no view says that it is down, or that it answers. libfaketime moves the
# clock of httpd alone.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Clock;
use Staple::Status;

use constant DAY => 86400;

plan skip_all => Staple::Clock->lacking if Staple::Clock->lacking;

my $clock = Staple::Clock->new;
my $ca = Staple::CA->new;
my ($first, $second) = map { Staple::Responder->new($ca) } 1 .. 2;
my %leaf = (
    fails => $ca->leaf(name => 'fails.test', ocsp => $first->url),
    ended => $ca->leaf(name => 'ended.test', ocsp => $second->url),
    lasts => $ca->leaf(name => 'lasts.test', ocsp => $second->url, days => 900),
);

# Move the clock of httpd so many days away from ours.
sub set_clock { $clock->set($_[0] * DAY) }

my $httpd = Staple::Httpd->new(
    ports  => 2,
    conf   => stapling('SSLStaplingErrorCacheTimeout 1', status_conf()),
    vhosts => [map { { cert => $leaf{$_} } } sort keys %leaf]);
my $status = Staple::Status->new($httpd);

# What is said of a responder.
sub said
{
    my ($responder) = @_;
    my $url = $responder->url;
    my ($json) = grep { $_->{url} eq $url } @{ $status->json->{responders} };
    my ($up) = $status->page('metrics')
        =~ /^staple_responder_up\{url="\Q$url\E"\} (\d)$/m;

    return { %{ $json->{numbers} }, is_down => $json->{is_down} ? 1 : 0,
             up => $up // 'not asked' };
}

sub trouble
{
    return $status->page =~ m{<section id="trouble">(.*?)</section>}s ? $1 : '';
}

$first->tell('http 500');
$httpd->start;
ok(wait_for(sub { said($first)->{is_down} }), 'a responder fails');
is(said($first)->{up}, 0, '... in the metrics, too');
like(trouble(), qr{HTTP status 500}, '... which is what is wrong');
wait_for_staple($httpd, 'good', name => 'ended.test');
wait_for_staple($httpd, 'good', name => 'lasts.test');
is(said($second)->{answering}, 2, 'another one answers');
$second->tell('http 500');

set_clock(100);
for my $name (qw(fails.test ended.test)) {
    ok(wait_for(sub { $status->cert($name)->{cause} =~ /itself has expired/ }),
       "$name expires");
}
is(said($first)->{is_down}, 0, 'its responder is not down');
is(said($first)->{failing}, 0, '... nor failing');
is(said($first)->{up}, 'not asked', '... nor in the metrics at all');
ok(wait_for(sub { said($second)->{failing} }), 'the other one fails now');
is(said($second)->{answering}, 0,
   '... and what it said of an expired certificate is no answer');
is(said($second)->{is_down}, 1, '... so it is down');
like(trouble(), qr{<h3>missing: <a href="\?state=missing">2 certificates},
     'what is wrong with the other two is that nothing is stapled');

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP0302/, qr/STP020[36]/);

done_testing;
