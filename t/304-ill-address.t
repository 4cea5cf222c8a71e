# Licensed under the Apache License, Version 2.0; see LICENSE.

# A responder's name has two addresses, the first of which is ill, in whatever
# way: the second one is asked in the same round. When nothing is held, and when
# a response is held and the address falls ill later.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $missing = Staple::Names::missing();

plan skip_all => $missing if $missing;

# As the responder is told about its first address.
my @ills = ('deaf', 'hang-before', 'hangup', 'reset', 'not-http', 'cut',
            'garbage | type text/html', 'http 500', 'http 503', 'drip 400');

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca, {
    bind => ['127.0.0.2', '127.0.0.3'] });
my $names = Staple::Names->new('two.test' => '127.0.0.2 127.0.0.3');
my $leaf = $ca->leaf(name => 'www.test',
                     ocsp => $responder->url('/', 'two.test'));

for my $ill (@ills) {
    my $httpd = Staple::Httpd->new(
        names  => $names,
        conf   => stapling('SSLStaplingResponderTimeout 6',
                           'SSLStaplingStandardCacheTimeout 1'),
        vhosts => [{ cert => $leaf }]);

    $responder->only($ill, '127.0.0.2');
    $responder->good('127.0.0.3');
    $httpd->start;
    is(wait_for_staple($httpd, 'good', seconds => 20)->{staple}, 'good',
       "$ill: stapled when nothing is held");
    unlike($httpd->error_log, qr/STP0203/, '... in the first round');

    # The first address is asked again because the second one fails; then it
    # falls ill in its turn.
    $responder->only('type application/ocsp-response', '127.0.0.2');
    $responder->only('http 500', '127.0.0.3');
    $responder->tell('reset-counters');
    ok(wait_for(sub { $responder->count('127.0.0.2') > 1 }, 20),
       '... the address is well, and asked');
    $responder->only($ill, '127.0.0.2');
    $responder->good('127.0.0.3');
    $responder->tell('reset-counters');
    ok(wait_for(sub { $responder->count('127.0.0.3') > 1 }, 30),
       '... it falls ill again, and the other one is asked');
    unlike($httpd->error_log, qr/STP0203/, '... without a failed round');
    ok($httpd->stop, '... httpd stops in good order');
    $httpd->log_ok;
}

done_testing;
