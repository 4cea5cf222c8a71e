# Licensed under the Apache License, Version 2.0; see LICENSE.

# ?metrics is what promtool accepts, a real Prometheus scrapes it in both of
# its dialects, the example rules speak up when they should and only then, and
# each query of the example dashboard has a result.

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP;
use Staple;
use Staple::Status;
use Staple::Work qw(source_dir spawn stop_process free_ports);

plan skip_all => 'no promtool (Debian: prometheus)' if !tool('promtool');

my $rules = source_dir() . '/docs/examples/prometheus-rules.yml';
my ($exit, $said) = run('promtool', 'check', 'rules', $rules);
is($exit, 0, 'promtool accepts the rules') or diag $said;

# --- rules against made-up series -------------------------------------------

my $labels = 'certificate="www.test",id="AB"';
my $expected = <<'END';
        exp_alerts:
          - exp_labels: { severity: %s, certificate: www.test, id: AB%s }
            exp_annotations:
              summary: "%s"
%s
END
sub alert
{
    my ($at, $name, $severity, $more, $summary, $description) = @_;

    return "      - eval_time: $at\n        alertname: $name\n"
        . sprintf $expected, $severity, $more, $summary, $description
          ? "              description: \"$description\"" : '';
}
# Of something else than a certificate.
sub only_labels
{
    my ($at, $name, $more, $summary, $severity) = @_;
    $severity //= 'warning';

    return "      - eval_time: $at\n        alertname: $name\n"
        . "        exp_alerts:\n"
        . "          - exp_labels: { severity: $severity$more }\n"
        . "            exp_annotations: { summary: \"$summary\" }\n";
}
sub silence
{
    return "      - eval_time: $_[0]\n        alertname: $_[1]\n"
        . "        exp_alerts: []\n";
}
sub trouble
{
    my ($state) = @_;

    return ("staple_certificate_trouble{$labels,state=\"$state\","
            . 'severity="s"}' => '1x60');
}
sub with_state { return ", state: $_[0]" }

my $left = "staple_certificate_validity_seconds{$labels}";
my $must = "staple_certificate_must_staple{$labels}";
my @cases = (
    [ [trouble('refused')],
      silence('0m', 'StapleRefused'),
      alert('2m', 'StapleRefused', 'critical', with_state('refused'),
            'www.test is must-staple and has no staple: clients refuse it'),
      silence('59m', 'StapleMissing') ],
    [ [trouble('revoked')],
      alert('0m', 'StapleRevoked', 'critical', with_state('revoked'),
            'www.test is revoked: have a new certificate issued') ],
    [ [trouble('missing')],
      silence('10m', 'StapleMissing'),
      alert('16m', 'StapleMissing', 'critical', with_state('missing'),
            'www.test has no staple that clients accept: missing') ],
    [ [trouble('expiring')],
      silence('4m', 'StapleEndsSoon'),
      alert('6m', 'StapleEndsSoon', 'critical', with_state('expiring'),
            'the response of www.test ends soon, and there is no newer one') ],
    [ [trouble('too_old')],
      silence('10m', 'StapleTooOld'),
      alert('16m', 'StapleTooOld', 'warning', with_state('too_old'),
            'the response of www.test is too old for clients: ask the CA for '
            . 'newer ones'),
      silence('59m', 'StapleMissing') ],
    [ [trouble('failing')],
      map { silence('59m', $_) }
          qw(StapleMissing StapleTooOld StapleRefused StapleRevoked
             StapleEndsSoon) ],
    [ [$left => '90000-60x120', $must => '1x120'],
      silence('55m', 'StapleMustStapleEndsSoon'),
      only_labels('80m', 'StapleMustStapleEndsSoon',
                  ', certificate: www.test, id: AB', 'www.test is must-staple '
                  . 'and its staple ends in 23h 40m 0s', 'critical') ],
    # One that is not must-staple has time.
    [ [$left => '9000-60x120'], silence('70m', 'StapleMustStapleEndsSoon') ],
    # Also where most certificates are answered for by a second URL.
    [ ['staple_responder_up{url="u"}' => '1x40 0x80',
       'staple_responder_certificates_failing{url="u"}' => '0x40 2x80',
       'staple_responder_certificates{url="u"}' => '300x120'],
      silence('39m', 'StapleResponderDown'),
      silence('90m', 'StapleResponderDown'),
      only_labels('102m', 'StapleResponderDown', ', url: u',
                  'the OCSP responder u does not answer') ],
    [ ['staple_ring_refused_total' => '0x20 1x20'],
      silence('19m', 'StapleRingFull'),
      only_labels('22m', 'StapleRingFull', '',
                  'OCSP responses do not fit into the ring: '
                  . 'increase the size in SSLStaplingCache') ],
    [ ['staple_share_silent' => '1x20 0x5 1x60'],
      silence('29m', 'StapleShareSilent'), silence('54m', 'StapleShareSilent'),
      only_labels('57m', 'StapleShareSilent', '',
                  'the share of the fleet does not answer: '
                  . 'each server asks for itself') ],
    [ ['staple_refresher_running' => '1x20 0x20'],
      silence('20m', 'StapleRefresherSilent'),
      only_labels('24m', 'StapleRefresherSilent', '',
                  'no response is renewed: the refresher gives no heartbeat',
                  'critical') ],
    [ ['staple_build_info{version="1"}' => '1x20 _x40'],
      silence('20m', 'StapleAbsent'),
      only_labels('40m', 'StapleAbsent', '',
                  'Prometheus gets no data about OCSP stapling') ],
);
my $tests = "rule_files: ['$rules']\nevaluation_interval: 1m\ntests:\n";
for my $case (@cases) {
    my ($series, @alerts) = @$case;

    $tests .= "  - interval: 1m\n    input_series:\n";
    while (my ($name, $values) = splice @$series, 0, 2) {
        $tests .= "      - { series: '$name', values: '$values' }\n";
    }
    $tests .= "    alert_rule_test:\n" . join '', @alerts;
}
($exit, $said) = run('promtool', 'test', 'rules',
                     write_file('rules-test.yml', $tests));
is($exit, 0, 'the rules speak up when they should and only then')
    or diag $said;

# --- a server with everything in it -----------------------------------------

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my %leaf = map { $_ => $ca->leaf(name => "$_.test", ocsp => $responder->url,
                                 must_staple => $_ eq 'must') }
    qw(good revoked must);
$responder->tell('revoked', $leaf{revoked});
$responder->tell('http 503', $leaf{must});
my $httpd = Staple::Httpd->new(
    ports => 2, conf => stapling(status_conf(), 'StapleWarmup 0'),
    vhosts => [map { { cert => $leaf{$_} } } sort keys %leaf]);
$httpd->start;
my $status = Staple::Status->new($httpd);
wait_for_staple($httpd, 'good', name => 'good.test');
wait_for_staple($httpd, 'revoked', name => 'revoked.test');
wait_for(sub { $status->cert('must.test')->{outcome} });

my $metrics = write_file('metrics.txt', $status->page('metrics'));
($exit, $said) = run('sh', '-c', "promtool check metrics < $metrics");
is($exit, 0, 'promtool accepts the metrics') or diag $said;
is($said, '', '... without a remark');
my $detail = write_file('detail.txt', $status->page('metrics&detail'));
($exit, $said) = run('sh', '-c', "promtool check metrics < $detail");
is("$exit $said", '0 ', '... with details, too');
my %series;
$series{$_}++ for read_file($metrics) =~ /^\w+\{certificate="([^"]+)"/mg;
is_deeply(\%series, { 'good.test' => 1, 'revoked.test' => 2, 'must.test' => 3 },
          'a certificate has one series, and three at most');

like($status->page('metrics'),
     qr/^staple_fetch_failures_total\{reason="http_status"\} [1-9]/m,
     'failures by reason');
like($status->page('metrics'),
     qr/^staple_fetch_failures_total\{reason="connect_timeout"\} 0$/m,
     '... with those that there were not');

my $open = $status->ask('metrics', headers => {
    Accept => 'application/openmetrics-text;version=1.0.0,text/plain;q=0.5' });
like($open->{head}{'content-type'},
     qr{^application/openmetrics-text; version=1},
     'OpenMetrics for whoever asks for it');
like($open->{body}, qr/\n# EOF\n\z/, '... with its end');
unlike($open->{body}, qr/^# TYPE \w+_total /m, '... and its names of counters');

SKIP: {
    skip 'no prometheus', 7 if !tool('prometheus');
    my ($port) = free_ports(1);
    my $conf = write_file('prometheus.yml', <<"END");
global:
  scrape_interval: 200ms
  scrape_timeout: 200ms
  evaluation_interval: 200ms
rule_files: ['$rules']
scrape_configs:
  - job_name: staple
    metrics_path: /staple
    params: { metrics: [''] }
    static_configs: [{ targets: ['127.0.0.1:${\$httpd->port(2)}'] }]
END
    my $pid = spawn(name => 'prometheus', log => work_dir() . '/prometheus.log',
        cmd => [tool('prometheus'), "--config.file=$conf",
                '--storage.tsdb.path=' . work_dir() . '/tsdb',
                "--web.listen-address=127.0.0.1:$port"]);
    my $query = sub {
        my ($what) = @_;
        my ($exit, $out) = run('promtool', 'query', 'instant',
                               "http://127.0.0.1:$port", $what);
        return $exit ? '' : $out;
    };

    ok(wait_for(sub { $query->('up{job="staple"}') =~ /=> 1 @/ }, 20),
       'Prometheus scrapes it');
    like($query->('staple_certificates'), qr/=> 3 @/, '... with its numbers');
    like($query->('staple_certificate_trouble{state="refused"}'),
         qr/certificate="must\.test".*severity="critical".*=> 1 @/,
         '... and the states');
    like($query->('staple_handshakes_stapled_total >= 1'), qr/=> \d+ @/,
         '... and the counters');
    ok(wait_for(sub { $query->('ALERTS{alertname="StapleRevoked"}')
                      =~ /alertstate="firing".*certificate="revoked\.test"/ },
                10), '... and raises the alarm');
    # Each query of the dashboard, over as long as there are samples.
    my $dashboard = JSON::PP::decode_json(read_file(
        source_dir() . '/docs/examples/grafana-dashboard.json'));
    my @queries = map { $_->{expr} }
        map { @{ $_->{targets} } } @{ $dashboard->{panels} };
    my @empty;

    for my $expr (@queries) {
        my $here = $expr =~ s/\$__rate_interval/20s/gr;

        push @empty, $expr if !wait_for(sub { $query->($here) =~ /=> \S+ @/ },
                                        20);
    }
    cmp_ok(scalar @queries, '>', 10, 'a dashboard with queries');
    is(join("\n", @empty), '', '... each of which has a result');
    stop_process($pid, 'TERM', 10);
}

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/\[staple:(?:warn|error|crit)\]/);

done_testing;
