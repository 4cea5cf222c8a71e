# Licensed under the Apache License, Version 2.0; see LICENSE.

# A revocation is an event: everybody is told, once, whatever comes between
# and after, and everything that shows certificates says since when and why;
# so is the end of a hold. It is remembered after its response has ended.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Status;
use Staple::Work qw(build_dir);

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $leaf = $ca->leaf(name => 'www.test', ocsp => $responder->url);
my $told = write_file('told', '');
my $program = write_file('program', <<"SCRIPT");
#!/bin/sh
echo "\$*" >>'$told'
SCRIPT
chmod 0755, $program;
chmod 0666, $told;

my $httpd = Staple::Httpd->new(
    ports  => 2,
    conf   => stapling(status_conf(), 'SSLStaplingStandardCacheTimeout 1',
                       'SSLStaplingErrorCacheTimeout 1',
                       'SSLStaplingReturnResponderErrors on',
                       "StapleMessageCmd '$program'"),
    vhosts => [{ cert => $leaf }]);
my $status = Staple::Status->new($httpd);

sub cert { return $status->cert('www.test') }

# How often a message is in the log, and a reason was told.
sub logged { my ($tag) = @_; return scalar(() = $httpd->error_log =~ /$tag/g) }
sub told
{
    my ($reason) = @_;

    return scalar grep { /^$reason / } split /\n/, read_file($told);
}

# Wait for some more exchanges.
sub more_exchanges
{
    my $before = $responder->count;

    return wait_for(sub { $responder->count >= $before + 3 });
}

sub staplectl
{
    my ($verb, @args) = @_;
    my ($exit, $out) = run(build_dir() . '/staplectl/staplectl', $verb,
                           '--ring', $httpd->dir . '/logs/stapling_cache',
                           @args);

    return wantarray ? ($exit, $out) : $out;
}

$httpd->start;
is(wait_for_staple($httpd, 'good')->{staple}, 'good', 'good at first');
is(cert()->{numbers}{revoked}, undef, '... and nothing says revoked');
is(cert()->{numbers}{revoked_reason}, -1, '... nor why');

subtest 'revoked: everything says so, since when and why' => sub {
    $responder->only('revoked 3600 1');
    is(wait_for_staple($httpd, 'revoked')->{staple}, 'revoked', 'stapled');
    my $cert = cert();
    is($cert->{state}, 'revoked', 'JSON: the state');
    is($cert->{severity}, 'critical', '... its severity');
    like($cert->{cause}, qr/^the CA revoked it at 20\d\d-.*\(reason: keyCompromise, 1\)/,
         '... since when and why, in words');
    like($cert->{numbers}{revoked}, qr/^20\d\d-\d\d-\d\dT/, '... as a moment');
    is($cert->{numbers}{revoked_reason}, 1, '... and as a code');
    like($status->page(''), qr/class="tag bad[^"]*">revoked.*keyCompromise, 1/s,
         'the page: in red, with the reason');
    my $metrics = $status->page('metrics&detail');
    like($metrics, qr/^staple_certificate_revoked_timestamp_seconds\{.*\} \d{10}\./m,
         'metrics: since when');
    like($metrics, qr/^staple_certificate_revoked_reason\{.*\} 1$/m, '... why');
    ok(wait_for(sub { staplectl('list') =~ /^revoked/m }, 20),
       'staplectl: list, once the file has it');
    my ($exit, $said) = staplectl('check');
    is($exit, 2, '... check: critical');
    like($said, qr/revoked it at 20.*keyCompromise, 1/, '... and why');
};

subtest 'told once' => sub {
    ok(wait_for(sub { told('revoked') }), 'the program was told');
    ok(more_exchanges(), 'the CA says it again and again');
    $responder->only('http 500');
    ok(more_exchanges(), 'an outage');
    is(handshake($httpd)->{staple}, 'revoked', '... leaves it in service');
    $responder->only('unknown');
    ok(more_exchanges(), 'a responder that knows nothing any more');
    is(handshake($httpd)->{staple}, 'revoked', '... does as well');
    $responder->only('revoked 3600 1');
    $httpd->graceful;
    ok(more_exchanges(), 'a restart');
    my ($first) = $status->page('auto') =~ /^StapleRefresherPid: (\d+)/m;
    kill 'KILL', $first;
    ok(wait_for(sub {
        my ($pid) = $status->page('auto') =~ /^StapleRefresherPid: (\d+)/m;
        return $pid && $pid != $first;
    }, 30), 'another refresher');
    ok(more_exchanges(), '... which is told by the CA again');
    is(logged('STP0202'), 1, 'one error line');
    is(told('revoked'), 1, 'one message');
    is(logged('STP0270'), 0, 'and no word of the contrary');
};

subtest 'good again: a hold is lifted' => sub {
    $responder->good;
    is(wait_for_staple($httpd, 'good')->{staple}, 'good', 'good is stapled');
    ok(wait_for(sub { read_file($told) =~ /^recovered .* not revoked any more/m }),
       'the program is told');
    is(logged('STP0270'), 1, 'one notice');
    is(cert()->{numbers}{revoked}, undef, 'nothing says revoked any more');
    ok(more_exchanges(), 'the CA says it again');
    is(logged('STP0270'), 1, '... and nobody else');
};

subtest 'on hold, and removeFromCRL' => sub {
    $responder->only('revoked 60 6');
    wait_for_staple($httpd, 'revoked');
    like(cert()->{cause}, qr/certificateHold, 6/, 'a hold is a revocation');
    like(cert()->{remedy}, qr/lift the hold/, '... that can be lifted');
    is(logged('STP0202'), 2, '... and is told anew');
    $responder->only('revoked 60 8');
    ok(wait_for(sub { cert()->{cause} =~ /removeFromCRL, 8/ }),
       'revoked with removeFromCRL is what it says: revoked');
    is(handshake($httpd)->{staple}, 'revoked', '... and stapled as such');
    is(logged('STP0202'), 2, '... the same revocation');
};

subtest 'the response ends in an outage' => sub {
    $responder->tell('revoked 3600 1');
    $responder->tell('validity -60 4');
    my $before = $responder->count;
    ok(wait_for(sub { $responder->count >= $before + 2 }), 'short responses');
    $responder->tell('refuse');
    is(wait_for_staple($httpd, 'none', seconds => 30)->{staple}, 'none',
       'nothing is stapled after its end');
    is(cert()->{state}, 'missing', 'which is the state');
    like(cert()->{cause}, qr/ended at .* and said that the CA revoked it at 20/,
         'the revocation is remembered');
    like(cert()->{numbers}{revoked}, qr/^20/, '... with its moment');
    $responder->tell('listen');
    is(wait_for_staple($httpd, 'revoked', seconds => 30)->{staple}, 'revoked',
       'the CA says it once more');
    is(logged('STP0202'), 2, '... and it was told before');
};

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP0202/, qr/STP0203/, qr/STP0302/, qr/STP0120/);

done_testing;
