# Licensed under the Apache License, Version 2.0; see LICENSE.

# Every view says where the last exchange spent its time, and which URL it was
# with: a slow answer shows in the wait, a slow connection in the connect, of
# two responders the one that answered is named, through a proxy too.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Status;
use Staple::Work qw(build_dir);

use IO::Socket::INET;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);

# Two ports that are taken, and at which nobody listens.
my @taken = map { IO::Socket::INET->new(LocalAddr => '127.0.0.1',
                                        Proto => 'tcp') // die "no port: $!\n" }
    1 .. 2;
my ($dead, $refusing) = map { 'http://127.0.0.1:' . $_->sockport . '/' } @taken;

# A port to which connecting takes long: its queue is full until `drain`.
package Full {
    sub new
    {
        my ($class) = @_;
        my $self = bless { listener => IO::Socket::INET->new(
            Listen => 1, LocalAddr => '127.0.0.1') // die "no port: $!\n" },
            $class;

        # Linux takes one more than was asked for; those that wait are ours.
        $self->{ours} = [map { IO::Socket::INET->new(
            PeerAddr => '127.0.0.1', PeerPort => $self->port, Blocking => 0) }
            1 .. 4];
        main::wait_for(sub { $self->waiting >= 1 });
        $self->{waited} = $self->waiting;
        return $self;
    }

    sub port { return $_[0]{listener}->sockport }

    # How many have asked for a connection and had no answer (SYN_SENT).
    sub waiting
    {
        my $port = sprintf ':%04X 02 ', $_[0]->port;

        return scalar grep { index($_, $port) > 0 }
            split /\n/, main::read_file('/proc/net/tcp');
    }

    sub is_wanted { return $_[0]->waiting > $_[0]{waited} }

    # Those who waited get their connection at the kernel's next attempt, after
    # a second; then nobody answers.
    sub drain
    {
        my ($self) = @_;

        $self->{ours} = [];
        return $self->{listener}->accept for 1 .. 2;
    }
}

my $full = -r '/proc/net/tcp' ? Full->new : undef;
my %leaf = map { $_->[0] => $ca->leaf(name => "$_->[0].test",
                                      ocsp => $_->[1]) }
    ['slow' => $responder->url],
    ['second' => [$dead, $responder->url('/two/')]],
    ['refused' => $refusing],
    ['full' => $full ? 'http://127.0.0.1:' . $full->port . '/' : $dead];
my $forced = $ca->leaf(name => 'forced.test', ocsp => $dead);
$responder->tell('slow 1200', $leaf{slow});

my $httpd = Staple::Httpd->new(
    ports  => 2, conf => stapling(status_conf(), 'StapleWarmup 0'),
    vhosts => [map({ { cert => $leaf{$_} } } sort keys %leaf),
               { cert => $forced,
                 conf => 'SSLStaplingForceURL ' . $responder->url('/forced/') }
              ]);
$httpd->start;
my $status = Staple::Status->new($httpd);
if ($full) {
    ok(wait_for(sub { $full->is_wanted }), 'the one that is full is asked');
    $full->drain;
}
ok(wait_for(sub { !grep { !$status->cert("$_.test")->{outcome} }
                      'forced', keys %leaf }, 30), 'every one was asked');

# A certificate in every view: numbers and URL.
sub views
{
    my ($name) = @_;
    my $cert = $status->cert($name);
    my ($line) = $status->page("auto&q=$name") =~ /^StapleCertificate: (.*)$/m;
    my $metrics = join "\n", grep { /certificate="$name"/ }
        split /\n/, $status->page('metrics&detail');

    return { json => $cert, line => $line, metrics => $metrics,
             one => $status->page("id=$cert->{id}") };
}

sub took
{
    my ($view, $phase) = @_;

    return $view->{json}{numbers}{"${phase}_took"};
}

my $slow = views('slow.test');
# The responder's pause of 1.2 s may begin a little before our clock does.
cmp_ok(took($slow, 'wait'), '>=', 1, 'a slow answer is waited for');
ok(defined took($slow, $_), "... behind the $_") for 'resolve', 'connect';
like($slow->{one}, qr{<dt>$_->[0] took</dt><dd>$_->[1]</dd>},
     "... on its own page: $_->[0]")
    for ['Resolving', qr/[\d.]+ m?s/], ['Connecting', qr/[\d.]+ m?s/],
        ['Waiting', qr/\d+(?:\.\d)? s/];
like($slow->{line}, qr/\twait_took=\d+\.\d{3}\t/, '... in the lines');
like($slow->{metrics},
     qr/^staple_certificate_wait_took_seconds\{[^}]*\} \d+\.\d{3}$/m,
     '... in the metrics');

SKIP: {
    skip('no /proc/net/tcp here', 2) if !$full;
    my $view = views('full.test');

    # TCP sends the first packet again after a second.
    cmp_ok(took($view, 'connect') // 0, '>=', 0.5,
           'a slow connection shows in the connect');
    is(took($view, 'wait'), undef, '... and nothing has answered');
}

my $refused = views('refused.test');
ok(defined took($refused, 'resolve'), 'refused: it was resolved');
is(took($refused, $_), undef, "... but there was no $_") for 'connect', 'wait';
like($refused->{one}, qr{<dt>$_ took</dt><dd>-</dd>},
     "... as the page says: $_") for 'Connecting', 'Waiting';
unlike($refused->{metrics}, qr/^staple_certificate_wait_took_seconds\{/m,
       '... and the metrics have nothing');

# Of two, the one that answered.
my $second = views('second.test');
my $url = $responder->url('/two/');
is($second->{json}{url}, $url, 'of two URLs the one that answered is named');
like($second->{json}{peer}, qr/:${\$responder->port}$/, '... its address, too');
like($second->{one}, qr{<dt>Responder asked last</dt><dd>\Q$url\E \(2 of 2\)<},
     '... on its own page');
like($second->{line}, qr/\turl=\Q$url\E\t/, '... in the lines');
like($second->{metrics},
     qr/^staple_certificate_info\{[^}]*url="\Q$url\E"\} 1$/m,
     '... in the metrics');
my %of = map { $_->{url} => $_ } @{ $status->json->{responders} };
ok($of{$url}{numbers}{last_success}, 'the success is that of the second');
is($of{$url}{peer}, $second->{json}{peer}, '... with its address');
is($of{$dead}{numbers}{last_success}, undef, '... and not of the first');
is($status->cert('forced.test')->{url}, $responder->url('/forced/'),
   'SSLStaplingForceURL is named');

my $ring = $httpd->dir . '/logs/stapling_cache';
my $shown;
wait_for(sub { # the file of the ring is a copy
    (undef, $shown) = run(build_dir() . '/staplectl/staplectl', 'show', '-r',
                          $ring, 'second.test', '-c', $leaf{second}{chain});
    return $shown =~ /^  responder +http/m;
});
like($shown, qr/^  responder +\Q$url\E$/m, 'staplectl names it');
like($shown,
     qr/^  took +resolve [\d.]+ m?s, connect [\d.]+ m?s, wait [\d.]+ m?s$/m,
     '... and says what took how long');
(undef, $shown) = run(build_dir() . '/staplectl/staplectl', 'show', '-r', $ring,
                      'second.test');
like($shown, qr/^  responder +number 2 of its URLs$/m,
     '... or says which, where it is not told the certificate');

$httpd->graceful;
is($status->cert('second.test')->{url}, $url, 'it is known after a restart');

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP0302/, qr/STP0203: (?:full|refused)\.test/);

SKIP: {
    skip('no mod_proxy_http', 4) if !has_httpd_module('proxy_http');
    my $proxy = Staple::Httpd->new(
        staple => 0, modules => [qw(proxy proxy_http)],
        conf => "ProxyRequests On\nProxyTimeout 5\n");

    $proxy->start;
    my $behind = Staple::Httpd->new(
        ports  => 2,
        conf   => stapling('SSLOCSPProxyURL http://127.0.0.1:' . $proxy->port,
                           status_conf()),
        vhosts => [{ cert => $leaf{second} }]);
    $behind->start;
    wait_for_staple($behind, 'good', name => 'second.test');
    $status = Staple::Status->new($behind);
    my $cert = $status->cert('second.test');
    is($cert->{url}, $url, 'through a proxy the responder that answered');
    is($cert->{peer}, '127.0.0.1:' . $proxy->port, '... at the proxy');
    ok($behind->stop, 'httpd stops in good order');
    ok($proxy->stop, 'the proxy stops in good order');
    $behind->log_ok;
    $proxy->log_ok(qr/AH01114|AH00957|AH00959/);
}

done_testing;
