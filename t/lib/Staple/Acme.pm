# Licensed under the Apache License, Version 2.0; see LICENSE.

# A stand-in for a CA that speaks ACME (RFC 8555), for mod_md to get its
# certificates from: plain HTTP on the loopback, certificates by a Staple::CA.
#
#   my $acme = Staple::Acme->new($ca, ocsp => $responder->url);
#   conf => 'MDCertificateAuthority ' . $acme->url . ...
#   $acme->set(days => 10);            # from the next certificate on
#   $acme->set(doubts => 1);           # put a challenge (tls-alpn-01) to those
#                                      # who order, until that is taken back
#   $acme->issued('www.test')          # what was issued for it, oldest first
#
# What it is told goes into Staple::CA's leaf(): ocsp, days, ext, must_staple
# (if not said: whether the request asks for it). The names come from the order,
# the key from the request.
#
# The one idea: it follows the conversation and believes whatever it is told.
# No signature, nonce or account is checked, and who orders a name has it: the
# authorisations of an order are valid from its beginning, unless there are
# doubts; how a challenge is met is for the test to look at. One request a
# connection, one after another.

package Staple::Acme;

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use MIME::Base64 qw(decode_base64url encode_base64);

use Staple::CA;
use Staple::Work qw(work_dir source_dir write_file read_file run
                    spawn is_running wait_for stop_process show_on_failure);

# How long a client may take to say what it wants, in seconds.
use constant PATIENCE => 10;

my $started = 0;

# ----- For tests -----

sub new
{
    my ($class, $ca, %o) = @_;
    my $dir = work_dir() . '/acme' . ++$started;
    my $self = bless {
        log => "$dir/log", file => "$dir/settings",
        # The CA is copied into another process: its serials are set apart.
        settings => { ca => { %$ca, serial => $ca->{serial} + 0x8000 }, %o },
    }, $class;

    $self->set;
    # It ends with our end of this pipe, however we end.
    pipe(my $theirs, my $ours) or die "pipe: $!\n";
    $self->{tie} = $ours;
    $self->{pid} = spawn(
        name => 'acme', log => $self->{log}, stdin => $theirs,
        cmd => [$^X, '-I' . source_dir() . '/t/lib', '-MStaple::Acme',
                '-e', 'Staple::Acme::serve(@ARGV)', $self->{file}]);
    wait_for(sub { read_file($self->{log}) =~ /^ready/m
                   || !is_running($self->{pid}) });
    ($self->{port}) = read_file($self->{log}) =~ /^port (\d+)\nready/
        or die "the ACME server did not start:\n", read_file($self->{log});
    show_on_failure("acme $started", $self->{log});
    return $self;
}

# The URL of its directory.
sub url { return "http://127.0.0.1:$_[0]{port}/directory" }

# Change what the certificates to come shall be like.
sub set
{
    my ($self, %o) = @_;

    $self->{settings} = { %{ $self->{settings} }, %o };
    write_file("$self->{file}.new", JSON::PP::encode_json($self->{settings}));
    rename "$self->{file}.new", $self->{file}
        or die "cannot rename to $self->{file}: $!\n";
}

# The serials (upper case hex) of what was issued for a name, oldest first.
sub issued
{
    my ($self, $name) = @_;

    return read_file($self->{log}) =~ /^issued (\w+) to \Q$name\E$/mg;
}

# End it for good; returns its $?.
sub stop { return stop_process($_[0]{pid}, 'TERM', 10) }

# ----- The server, in a process of its own -----

# What lies at /WORD or /WORD/NUMBER: given the server, the number and what
# was sent, answers with a status, a body and more headers.
my %resources = (
    'directory'   => \&_directory,
    'new-nonce'   => sub { return (200, '') },
    'new-account' => sub { return (201, _account(), _at($_[0], 'account')) },
    'account'     => sub { return (200, _account()) },
    'new-order'   => \&_new_order,
    'order'       => sub { return (200, _order(@_)) },
    'authz'       => \&_authorization,
    'challenge'   => sub { return (200, _challenge(@_)) },
    'finalize'    => \&_finalize,
    'cert'        => \&_certificate,
);

sub serve
{
    my ($file) = @_;
    my $listener = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 16)
        // die "no port: $!\n";
    my $select = IO::Select->new($listener, \*STDIN);
    my $server = { file => $file, orders => [], names => [], nonces => 0,
                   base => 'http://127.0.0.1:' . $listener->sockport };

    $| = 1;
    local $SIG{PIPE} = 'IGNORE';
    local $SIG{ALRM} = sub { die "a client said nothing more\n" };
    print 'port ', $listener->sockport, "\nready\n";
    while (!grep { $_ == \*STDIN } $select->can_read) {
        my $client = $listener->accept or next;

        eval { _converse($server, $client) };
        alarm 0;
        print "failed: $@" if $@;
    }
}

sub _converse
{
    my ($server, $client) = @_;
    alarm PATIENCE;
    my ($method, $path, $body) = _read_request($client) or return;
    alarm 0;
    my ($word, $number) = $path =~ m{^/([\w-]+)(?:/(\d+))?$};
    my $resource = $resources{ $word // '' };
    my ($status, $reply, @headers) = $resource
        ? $resource->($server, $number // 0, _payload($body)) : (404, '');
    my $is_text = !ref $reply;

    print "$method $path: $status\n";
    $reply = JSON::PP::encode_json($reply) if !$is_text;
    $client->print("HTTP/1.1 $status -\r\n",
                   map({ "$_\r\n" } @headers,
                       'Content-Type: ' . ($is_text
                           ? 'application/pem-certificate-chain'
                           : 'application/json'),
                       'Content-Length: ' . length $reply,
                       'Replay-Nonce: nonce' . ++$server->{nonces},
                       'Cache-Control: no-store', 'Connection: close'),
                   "\r\n", $method eq 'HEAD' ? '' : $reply);
}

# Method, path and body; nothing if that is no request.
sub _read_request
{
    my ($client) = @_;
    my ($method, $path) = ($client->getline // '') =~ m{^([A-Z]+) (\S+) HTTP/}
        or return;
    my $length = 0;
    my $body = '';

    while (defined(my $line = $client->getline)) {
        last if $line =~ /^\r?\n$/;
        $length = $1 if $line =~ /^Content-Length:\s*(\d+)/i;
    }
    $client->read($body, $length) if $length;
    return ($method, $path, $body);
}

# What the JWS in a body says; the empty hash for a POST-as-GET.
sub _payload
{
    my ($body) = @_;
    my $jws = length $body ? JSON::PP::decode_json($body) : {};
    my $said = decode_base64url($jws->{payload} // '');

    return length $said ? JSON::PP::decode_json($said) : {};
}

sub _url { return "$_[0]{base}/$_[1]/" . ($_[2] // 0) }

sub _at { return 'Location: ' . _url(@_) }

sub _directory
{
    my ($server) = @_;

    return (200, { map { $_->[0] => "$server->{base}/$_->[1]" }
                   ['newNonce', 'new-nonce'], ['newAccount', 'new-account'],
                   ['newOrder', 'new-order'] });
}

sub _account { return { status => 'valid', contact => [], orders => '' } }

sub _new_order
{
    my ($server, undef, $said) = @_;
    my @names = map { $_->{value} } @{ $said->{identifiers} };
    my $first = @{ $server->{names} };

    push @{ $server->{names} }, @names;
    push @{ $server->{orders} },
        { names => \@names, authz => [$first .. $first + $#names] };
    my $number = $#{ $server->{orders} };
    return (201, _order($server, $number), _at($server, 'order', $number));
}

sub _order
{
    my ($server, $number) = @_;
    my $order = $server->{orders}[$number];

    my $open = _doubts($server) ? 'pending' : 'ready';

    return {
        status => $order->{chain} ? 'valid' : $open,
        identifiers => [map { _identifier($_) } @{ $order->{names} }],
        authorizations => [map { _url($server, 'authz', $_) }
                           @{ $order->{authz} }],
        finalize => _url($server, 'finalize', $number),
        $order->{chain}
            ? (certificate => _url($server, 'cert', $number)) : (),
    };
}

sub _identifier { return { type => 'dns', value => $_[0] } }

sub _settings { return JSON::PP::decode_json(read_file($_[0]{file})) }

sub _doubts { return _settings($_[0])->{doubts} }

sub _challenge
{
    my ($server, $number) = @_;

    return { type => 'tls-alpn-01', status => 'pending',
             url => _url($server, 'challenge', $number),
             token => "token-of-authorization-$number" };
}

sub _authorization
{
    my ($server, $number) = @_;
    my $doubts = _doubts($server);

    return (200, { status => $doubts ? 'pending' : 'valid',
                   challenges => $doubts ? [_challenge($server, $number)] : [],
                   identifier => _identifier($server->{names}[$number]) });
}

sub _finalize
{
    my ($server, $number, $said) = @_;
    my $order = $server->{orders}[$number];

    $order->{chain} = _issue($server, $order, decode_base64url($said->{csr}));
    return (200, _order($server, $number));
}

sub _certificate
{
    my ($server, $number) = @_;

    return (200, read_file($server->{orders}[$number]{chain}));
}

# Returns the file with the certificate and the intermediate's.
sub _issue
{
    my ($server, $order, $der) = @_;
    my %o = %{ _settings($server) };
    my $ca = $server->{ca} //= bless $o{ca}, 'Staple::CA';
    my ($name, @alt) = @{ $order->{names} };
    my $csr = write_file("$server->{file}.csr",
                         "-----BEGIN CERTIFICATE REQUEST-----\n"
                         . encode_base64($der)
                         . "-----END CERTIFICATE REQUEST-----\n");

    delete @o{qw(ca doubts)};
    $o{must_staple} //= (run('openssl', 'req', '-in', $csr, '-noout',
                             '-text'))[1] =~ /status_request/;
    my $leaf = $ca->leaf(%o, name => $name, alt => \@alt, csr => $csr);
    print "issued $leaf->{serial} to $_\n" for $name, @alt;
    return $leaf->{chain};
}

1;
